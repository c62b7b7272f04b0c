"""Deliberate faults in the product, and the test that must notice each: a list that keeps the suite honest."""

import msgspec

__all__ = ["MUTATIONS", "Change", "Mutation"]

_WRITE_LOG = "hil_tests/powercut/test_power_cuts.py::test_states_of_the_write_log[2]"
_STORAGE = "tests/system/test_system_storage.py"
_RECEIPT = (
    "hil_tests/powercut/test_power_cuts.py::test_no_receipt_for_bytes_that_changed_on_their_way_to_storage"
)
_FILES = "tests/evidence/test_storage_files.py"
_EVERY_STEP = (
    "tests/device/vault_recovery/test_every_step.py"
    "::test_a_clip_killed_at_each_step_is_recovered_the_same_whatever_kills_recovery[unsynced-lost]"
)
_PRESS = "hil_tests/test_press.py::test_press_is_dated_by_its_edge_made_durable_then_lit"


class Change(msgspec.Struct, frozen=True):
    """A text in a file, which must stand there exactly once, and what takes its place."""

    file: str
    old: str
    new: str


class Mutation(msgspec.Struct, frozen=True, kw_only=True):
    """One fault. `tests` notice it without a board, `board_tests` on one; each of them by itself must fail."""

    name: str
    changes: tuple[Change, ...]
    tests: tuple[str, ...] = ()
    board_tests: tuple[str, ...] = ()


MUTATIONS = (
    Mutation(
        name="no fdatasync",
        changes=(Change("evidence/storage.py", "os.fdatasync(self._fd)", "os.fstat(self._fd)"),),
        tests=(f"{_FILES}::test_the_data_of_a_publication_is_on_storage_before_its_name",),
        board_tests=(_WRITE_LOG,),
    ),
    Mutation(
        name="journal synced before the bytes that it attests",
        changes=(
            Change("evidence/cipherfile.py", "        self._file.sync()\n        digest", "        digest"),
            Change(
                "evidence/clipwriter.py",
                "        self._journal_file.sync()\n",
                "        self._journal_file.sync()\n        self._cipher._file.sync()\n",
            ),
        ),
        tests=(_EVERY_STEP,),
        board_tests=(_WRITE_LOG,),
    ),
    Mutation(
        name="press dated by its callback and not by its edge",
        changes=(
            Change(
                "device/controls/edges.py",
                "        at_ns = ticks_to_ns(self._factory, ticks, now_ns) if",
                "        at_ns = now_ns if",
            ),
        ),
        tests=("tests/device/controls/test_edges.py::test_edges_carry_the_time_of_the_pin_not_of_python",),
        board_tests=(_PRESS,),
    ),
    Mutation(
        name="ring one GOP short",
        changes=(
            Change(
                "device/buffer/gops.py",
                "return gops[1].key_ns <= edge_ns or",
                "return gops[0].key_ns <= edge_ns + self._margin_ns or",
            ),
        ),
        tests=("tests/device/buffer/test_ring_model.py",),
        board_tests=(
            "hil_tests/powercut/test_power_cuts.py::test_a_full_ring_is_kept_from_the_right_keyframe",
        ),
    ),
    Mutation(
        name="receipt before the copy was read again",
        changes=(
            Change(
                "host/store/readback.py",
                "        if before and (before.manifest, before.public_key) == (manifest, public_key):\n",
                """\
        if manifest.ciphertext:
            said = (
                _named(CIPHERTEXT, manifest.ciphertext),
                NamedBlob(name=JOURNAL, bytes=manifest.journal.bytes, sha256=manifest.journal.sha256),
                _named(MANIFEST, _blob(content)),
                _named(SIGNATURE, _blob(signature)),
            )
            return ReadBack(
                files=said, way=Reread.DIRECT, manifest=manifest, manifest_sha256=self._key.manifest_sha256
            )
        if before and (before.manifest, before.public_key) == (manifest, public_key):
""",
            ),
        ),
        tests=(
            "tests/host/store/test_store_contract.py::test_a_clip_that_is_not_what_was_signed_never_becomes_one",
        ),
        board_tests=(_RECEIPT,),
    ),
    Mutation(
        name="recording light renewed by time and not by progress",
        changes=(
            Change(
                "device/recording/recorder.py",
                "self._publish()\n\n    def _take(self",
                "self._panel.renew(self._now_ns() + _RENEW_NS)\n        self._publish()\n\n    def _take(self",
            ),
        ),
        tests=(f"{_STORAGE}::test_a_read_only_card_refuses_in_light_and_films_again_when_it_can",),
        board_tests=(_PRESS,),
    ),
)
