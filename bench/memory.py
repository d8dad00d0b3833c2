"""Memory: idle, and after many calls."""

from bench.load import Load
from bench.report import Report
from bench.rounds import alternate
from bench.setting import Setting


def measure(setting: Setting, report: Report) -> None:
    """Compare the memory of idle processes; then check whether calls leave anything behind."""

    def idle_driver() -> float:
        with setting.driver() as driver:
            return driver.usage.resident()

    def idle_floor() -> float:
        with setting.floor() as floor:
            return floor.usage.resident()

    idle = alternate({"driver": idle_driver, "floor": idle_floor}, setting.rounds)
    report.compare("memory", "idle", "MiB", idle["driver"], idle["floor"])
    calls = 5_000 if setting.quick else 100_000
    generator = setting.generator()
    with setting.driver(log=True) as driver:
        generator.run(driver, Load(), calls=calls // 5)  # fills caches
        before = driver.usage.resident()
        generator.run(driver, Load(), calls=calls)
        grown = (driver.usage.resident() - before) * 2**20 / calls
    report.figure("memory", f"growth over {calls:,} calls", "bytes per call", grown)
