"""What is said of a conformance suite's output, and which flags it gets."""

from pathlib import Path

from tools.conformance import Count, arguments, flags_of

OUTPUT = """\
=== RUN   TestConformance/InferencePoolAccepted
    conformance.go:1: Applying tests/inferencepool_accepted.yaml
        --- PASS: TestConformance/InferencePoolAccepted/a_part_of_it (0.01s)
--- FAIL: TestConformance (119.51s)
    --- PASS: TestConformance/InferencePoolAccepted (0.02s)
    --- FAIL: TestConformance/GatewayFollowingEPPRouting (60.00s)
    --- SKIP: TestConformance/EppUnAvailableFailOpen (0.00s)
--- PASS: TestConformance/InferencePoolAccepted (0.02s)
""".splitlines(keepends=True)


def test_tests_are_counted_once_and_parts_of_tests_are_none() -> None:
    count = Count()
    said = [each for line in OUTPUT if (each := count.read(line)) is not None]
    assert (count.of("PASS"), count.of("FAIL"), count.of("SKIP")) == (
        ["InferencePoolAccepted"],
        ["GatewayFollowingEPPRouting"],
        ["EppUnAvailableFailOpen"],
    )
    assert " FAIL  GatewayFollowingEPPRouting (60.00s)" in said


def test_the_same_report_is_asked_of_the_lab_and_of_a_cluster() -> None:
    told = arguments(["core"])
    lab = flags_of(told, "gateway", Path("r.yaml"), in_lab=True)
    assert lab[-2:] == ["--report", "r.yaml"] and any("supported-features" in each for each in lab)
    assert "--report-output=r.yaml" in flags_of(told, "gateway", Path("r.yaml"), in_lab=False)
    one = arguments(["gie", "--", "--run-test=A"])
    assert flags_of(one, "gie", None, in_lab=True) == ["--run-test=A"]
