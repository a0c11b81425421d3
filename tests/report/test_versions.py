import subprocess

from loopda.report.versions import commit, versions


def test_the_versions_name_this_package_and_its_libraries():
    found = versions()
    assert {"loopda", "commit", "python", "numpy", "torch"} <= set(found)
    assert all(found.values())


def test_the_commit_is_that_of_the_checkout_and_unknown_in_another_repository(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert commit(package) == "unknown"

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("commit", "--quiet", "--message", "other")
    assert commit(package) == "unknown"
    git("add", "package")
    git("commit", "--quiet", "--message", "package")
    assert commit(package) == git("rev-parse", "HEAD")[:12]
    (package / "__init__.py").write_text("changed = True\n")
    assert commit(package) == git("rev-parse", "HEAD")[:12] + "-dirty"
