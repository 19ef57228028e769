"""The bench of the emergency stop runs and passes."""

from regrasp.bench_estop import BenchEstopConfig, bench_estop


def test_the_bench_measures_and_judges(capsys):
    assert bench_estop(BenchEstopConfig(n=2)) == 0
    assert "estop n 2  p50" in capsys.readouterr().out
