/*
 * The sensor that libcamera's virtual pipeline lacks: 30 frames a second, numbered, timed and stamped, that fails
 * on order. `build-libcamera` puts it beside virtual.cpp and calls it from there.
 *
 * Time. Frame n is exposed at start + n/30 s of CLOCK_MONOTONIC, whether or not a buffer waits for it. A buffer
 * takes the first frame exposed after it was queued, so a frame is lost when the application keeps all buffers,
 * and not when this thread is scheduled late: as with hardware.
 *
 * Stamp. Number and time are drawn into the luma plane as device/capture/stamp.py reads them.
 *
 * Orders. The file that PREROLL_SENSOR_ORDERS names is read at every frame:
 *   lose N    the next N frames reach no buffer; the file is removed
 *   freeze    frames end while the file is there, and until the camera is started again: buffers are kept
 *   hang      the driver does not return while the file is there
 */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libcamera/control_ids.h>
#include <libcamera/framebuffer.h>

#include "libcamera/internal/mapped_framebuffer.h"
#include "libcamera/internal/request.h"

namespace preroll {

constexpr int64_t kNsPerS = 1'000'000'000;
constexpr int64_t kRate = 30;
constexpr unsigned int kColumns = 28, kRows = 4, kBodyBytes = 12, kStampBytes = 14;
constexpr unsigned char kBlack = 16, kWhite = 235;
constexpr struct timespec kPause = { 0, 10'000'000 };

struct Exposure {
	int64_t start = -1;
	int64_t number = -1; /* of the frame that the buffer at hand takes */
	int64_t time() const { return start + number * kNsPerS / kRate; }
};

inline Exposure &exposure()
{
	static Exposure one; /* one camera; its clock goes on when it is stopped */
	return one;
}

inline const char *orders()
{
	static const char *const name = getenv("PREROLL_SENSOR_ORDERS");
	return name;
}

/* Reads the order of the moment, an empty string for none. */
inline void readOrder(char (&order)[32])
{
	memset(order, 0, sizeof(order));
	FILE *file = orders() ? fopen(orders(), "r") : nullptr;
	if (!file)
		return;
	if (!fgets(order, sizeof(order), file))
		order[0] = '\0';
	fclose(file);
}

/* Waits for the frame that this request takes; false if it never comes. */
inline bool expose(libcamera::Request *request)
{
	using namespace libcamera;
	char order[32];
	for (readOrder(order); !strncmp(order, "hang", 4); readOrder(order))
		nanosleep(&kPause, nullptr);
	if (!strncmp(order, "freeze", 6))
		return false;

	Exposure &frame = exposure();
	/* The pipeline notes there when the request was queued. */
	const int64_t queued = request->_d()->metadata().get(controls::SensorTimestamp).value_or(0);
	if (frame.start < 0)
		frame.start = queued;
	frame.number++;
	if (!strncmp(order, "lose ", 5)) {
		frame.number += atoll(order + 5);
		unlink(orders());
	}
	if (frame.time() < queued)
		frame.number = ((queued - frame.start) * kRate + kNsPerS - 1) / kNsPerS;

	const int64_t due = frame.time();
	const struct timespec until = { due / kNsPerS, due % kNsPerS };
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR)
		;
	request->_d()->metadata().set(controls::SensorTimestamp, due);
	return true;
}

/* Draws the strip of device/capture/stamp.py: number, time and CRC-16/XMODEM, big-endian, white is 1. */
inline void stamp(const libcamera::FrameBuffer *buffer, const libcamera::Size &size)
{
	using namespace libcamera;
	const Exposure &frame = exposure();
	unsigned char bytes[kStampBytes];
	for (unsigned int i = 0; i < 4; i++)
		bytes[i] = static_cast<uint32_t>(frame.number) >> (24 - 8 * i) & 0xff;
	for (unsigned int i = 0; i < 8; i++)
		bytes[4 + i] = static_cast<uint64_t>(frame.time()) >> (56 - 8 * i) & 0xff;
	uint16_t crc = 0;
	for (unsigned int i = 0; i < kBodyBytes; i++) {
		crc ^= bytes[i] << 8;
		for (unsigned int bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
	}
	bytes[kBodyBytes] = crc >> 8;
	bytes[kBodyBytes + 1] = crc & 0xff;

	MappedFrameBuffer mapped(buffer, MappedFrameBuffer::MapFlag::Write);
	unsigned char *luma = mapped.planes()[0].data();
	const unsigned int blockWidth = size.width / kColumns;
	const unsigned int blockHeight = size.height / 30 < 4 ? 4 : size.height / 30;
	for (unsigned int y = 0; y < kRows * blockHeight; y++) {
		unsigned char *line = luma + y * size.width;
		memset(line, kBlack, size.width);
		for (unsigned int column = 0; column < kColumns; column++) {
			const unsigned int bit = y / blockHeight * kColumns + column;
			if (bytes[bit / 8] >> (7 - bit % 8) & 1)
				memset(line + column * blockWidth, kWhite, blockWidth);
		}
	}
}

} /* namespace preroll */
