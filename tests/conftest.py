"""What holds for every test."""

import os

from hypothesis import HealthCheck, settings

# The same examples in every run, so that a failure is a change's and not the day's; `make fuzz` looks for
# new ones. No deadlines: how long a step takes is the machine's business.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("PREROLL_HYPOTHESIS", "same"))
