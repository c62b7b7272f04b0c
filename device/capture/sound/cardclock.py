"""Estimates when a sound card's samples were really taken, from block times with jitter.

A Kalman filter with two states, the time of the next sample and the card's rate against CLOCK_MONOTONIC. It
is the optimal form of the delay-locked loop that audio servers use (F. Adriaensen, "Using a DLL to filter
time", 2005): wide open at first, narrowing by itself to a time constant of about a minute. A dozen
multiplications a block.
"""

__all__ = ["CardClock"]

_NS_PER_SAMPLE = 1e9 / 48_000
_JITTER_NS = 2e6  # standard deviation assumed of one block's time
_RATE_SPREAD = 300e-6  # standard deviation of cards' rates before anything is known
_RATE_WANDER = 2.5e-24  # variance a nanosecond: 0.05 ppm in a second, a crystal that warms up
_CLIP = 4.0  # an innovation counts for no more than so many standard deviations


class CardClock:
    """Time and rate of one sound card. Times in nanoseconds of CLOCK_MONOTONIC, rates as fractions."""

    def __init__(self) -> None:
        self._base_ns = 0
        self._ahead_ns = 0.0  # of the next sample, from the base: small, so that a float is exact enough
        self._rate = 0.0
        self._var_time = _JITTER_NS**2
        self._cov = 0.0
        self._var_rate = _RATE_SPREAD**2

    @property
    def drift_ppm(self) -> float:
        """How much slower than 48 kHz the card samples, in parts per million (negative: faster)."""
        return self._rate * 1e6

    @property
    def next_sample_ns(self) -> int:
        """When the sample after the last block is expected."""
        return self._base_ns + round(self._ahead_ns)

    def restart(self, first_sample_ns: int) -> None:
        """Take a block's time as it is, after a hole; what is known of the rate stays."""
        self._base_ns = first_sample_ns
        self._ahead_ns = 0.0
        self._var_time = _JITTER_NS**2
        self._cov = 0.0

    def observe(self, first_sample_ns: int) -> None:
        """Learn from the time stamped on the next block."""
        expected_var = self._var_time + _JITTER_NS**2
        limit = _CLIP * expected_var**0.5
        innovation = (first_sample_ns - self._base_ns) - self._ahead_ns
        innovation = min(max(innovation, -limit), limit)
        gain_time = self._var_time / expected_var
        gain_rate = self._cov / expected_var
        self._ahead_ns += gain_time * innovation
        self._rate += gain_rate * innovation
        self._var_rate -= gain_rate * self._cov
        self._cov -= gain_time * self._cov
        self._var_time -= gain_time * self._var_time

    def advance(self, samples: int) -> None:
        """Go past the samples of a block."""
        whole = int(self._ahead_ns)
        nominal = samples * _NS_PER_SAMPLE
        self._base_ns += whole
        self._ahead_ns += nominal * (1.0 + self._rate) - whole
        self._var_time += nominal * (2.0 * self._cov + nominal * self._var_rate)
        self._cov += nominal * self._var_rate
        self._var_rate += nominal * _RATE_WANDER
