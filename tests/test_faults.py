"""docs/faults.md lists the faults and the tests that inject them."""

from faults import PAGE, faults, injections, page


def test_the_page_of_faults_is_what_the_marks_generate():
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m tests.faults"


def test_every_fault_is_injected_by_a_test_or_says_why_not():
    injected = {injection.number for injection in injections()}
    assert [fault.number for fault in faults() if fault.number not in injected and not fault.elsewhere] == []


def test_every_mark_names_a_fault_of_the_table():
    assert {injection.number for injection in injections()} <= {fault.number for fault in faults()}
