"""What every kind of test shares: an assertion in a helper shows its values as one in a test does."""

import pytest

pytest.register_assert_rewrite("tests.cli", "tests.endstate", "tests.fake", "tests.lab", "tests.unit")
