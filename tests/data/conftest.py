"""What several tests of data sets share."""

import pytest


@pytest.fixture
def tree(tmp_path):
    """tree(name, ...): the folder with these empty files in it."""

    def make(*names):
        for name in names:
            (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "d" / name).touch()
        return tmp_path / "d"

    return make
