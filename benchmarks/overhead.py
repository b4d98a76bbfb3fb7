"""What a gateway costs on top of the upstream: Weighbridge, LiteLLM proxy, Portkey's gateway and nginx, side by side.

One interleaved run: in each round every gateway is started anew, and each measurement is taken of all of them before
the next begins. The one whose turn it is has core 0 to itself, the others are frozen; the load generator and the
scripted upstream share core 1. The peers are installed into a cache directory on the first run.

    python benchmarks/overhead.py                # about fifteen minutes
    python benchmarks/overhead.py --quick        # one short round: does it run?
"""

import argparse
import json
import os
import shlex
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from rig import load, processes, targets
from rig.goals import judged
from rig.load import Sample, quantile
from rig.processes import Program, end_cleanly_on_sigterm
from rig.results import DIRECT, SCENARIOS, Reading, Results, Scenario, Start
from rig.tables import machine, rendered
from rig.targets import Place, SkippedError, Target


@dataclass(slots=True)
class Running:
    """A gateway that is up. sent: requests so far, to be found again in its ledger."""

    target: Target
    program: Program
    ready_s: float
    sent: int = 1


class Bench:
    """One run, from the first round to the last."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.gateway_core, self.load_core = processes.cores()
        os.sched_setaffinity(0, {self.load_core})
        self.upstream, port = targets.start_upstream(self.load_core, folder)
        self.place = Place(options.cache, folder, port)
        self.results = Results()

    def close(self) -> None:
        self.upstream.stop()

    def run(self) -> Results:
        makers = {name: targets.TARGETS[name] for name in self.options.targets}
        for number in range(self.options.rounds):
            self._round(number, {n: m for n, m in makers.items() if n not in self.results.skipped})
        return self.results

    def _round(self, number: int, makers: Mapping[str, Callable[[Place], Target]]) -> None:
        up: dict[str, Running] = {}
        try:
            for name, maker in makers.items():
                self._start(name, maker, up)
            for scenario in self.options.scenarios:
                self._scenario(number, scenario, up)
            for name, running in up.items():
                start = Start(running.ready_s, running.program.resident_mb())
                self.results.starts.setdefault(name, []).append(start)
        finally:
            for running in up.values():
                running.program.stop()
        for running in up.values():
            self._check_ledger(running)

    def _start(self, name: str, maker: Callable[[Place], Target], up: dict[str, Running]) -> None:
        _say(f"starting {name}")
        try:
            target = maker(self.place)
            program, ready_s = targets.start(target, self.gateway_core, self.place.folder)
        except SkippedError as error:
            self.results.skipped[name] = str(error)
            _say(f"SKIPPED {name}: {error}")
            return
        up[name] = Running(target, program, ready_s)
        self.results.versions[name] = target.version
        self._warm_up(up[name])
        program.freeze()

    def _warm_up(self, running: Running) -> None:
        """Traffic until it is as fast as it gets; nothing of it is counted."""
        rest_s = running.target.rest_s if not self.options.quick else 0.3
        _set_pace(self.place.upstream, Scenario("", 1, is_stream=False))
        for is_stream, share in ((False, 0.6), (True, 0.4)):
            job = self._job(running.target, Scenario("warm-up", 8, is_stream), rest_s * share)
            running.sent += _measured(job, running.program.cpu_s).sent

    def _scenario(self, number: int, scenario: Scenario, up: Mapping[str, Running]) -> None:
        _set_pace(self.place.upstream, scenario)
        order = [DIRECT, *up]
        turn = number % len(order)
        for name in order[turn:] + order[:turn]:
            sample = self._direct(scenario) if name == DIRECT else self._through(up[name], scenario)
            reading = _reading(sample)
            self.results.readings.setdefault((name, scenario.name), []).append(reading)
            _say(f"round {number + 1}, {scenario.name}, {name}: {_in_short(reading)}")

    def _direct(self, scenario: Scenario) -> Sample:
        job = load.Job(
            self.place.upstream, "small-model", scenario.clients, scenario.is_stream, seconds=self.options.seconds
        )
        return _measured(job, self.upstream.cpu_s)

    def _through(self, running: Running, scenario: Scenario) -> Sample:
        running.program.thaw()
        sample = _measured(self._job(running.target, scenario, self.options.seconds), running.program.cpu_s)
        running.program.freeze()
        running.sent += sample.sent
        return sample

    def _job(self, target: Target, scenario: Scenario, seconds: float) -> load.Job:
        return load.Job(
            target.port,
            target.model,
            scenario.clients,
            scenario.is_stream,
            headers=target.headers,
            mark=target.mark,
            seconds=seconds,
        )

    def _check_ledger(self, running: Running) -> None:
        """Every request must be found in the ledger: a pass-through that forgets is no pass-through with a ledger."""
        if running.target.ledger is None:
            return
        rows = targets.ledger_rows(running.target)
        verdict = "complete" if rows == running.sent else "INCOMPLETE"
        self.results.ledgers[running.target.name] = f"{verdict}: {rows:,} rows for {running.sent:,} requests"


def _measured(job: load.Job, cpu_s: Callable[[], float]) -> Sample:
    return uvloop.run(load.measure(job, cpu_s))


def _set_pace(port: int, scenario: Scenario) -> None:
    url = f"http://127.0.0.1:{port}/script?delay_ms={scenario.delay_ms}&gap_ms={scenario.gap_ms}"
    urllib.request.urlopen(url, timeout=5).close()


def _in_short(reading: Reading) -> str:
    text = f"{reading.per_second:,.0f}/s, p50 {reading.p50_ms:.2f} ms, {reading.cpu_ms:.3f} ms CPU each"
    return text + (f", ERRORS {dict(reading.errors)}" if reading.errors else "")


def _reading(sample: Sample) -> Reading:
    return Reading(
        per_second=sample.per_second,
        per_core=sample.answers / sample.cpu_s if sample.cpu_s else float("nan"),
        cpu_ms=sample.cpu_ms_each,
        cores_used=sample.cores_used,
        p50_ms=1000 * quantile(sample.latencies_s, 0.5),
        p99_ms=1000 * quantile(sample.latencies_s, 0.99),
        ttft_p50_ms=1000 * quantile(sample.ttfts_s, 0.5),
        ttft_p99_ms=1000 * quantile(sample.ttfts_s, 0.99),
        answers=sample.answers,
        unmarked_share=sample.unmarked / max(1, sample.sent),
        errors=sample.errors,
    )


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _command() -> str:
    return "python " + shlex.join(sys.argv)


def _heading(options: argparse.Namespace) -> str:
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {machine()}; `{_command()}`; "
        f"{options.rounds} interleaved rounds, windows of {options.seconds:g} s."
    )


def _as_json(results: Results, options: argparse.Namespace) -> str:
    report = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}",
        "machine": machine(),
        "command": _command(),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "versions": results.versions,
        "skipped": results.skipped,
        "ledgers": results.ledgers,
        "readings": [
            {"target": target, "scenario": scenario, "round": i + 1, **asdict(reading)}
            for (target, scenario), readings in results.readings.items()
            for i, reading in enumerate(readings)
        ],
        "starts": {name: [asdict(s) for s in starts] for name, starts in results.starts.items()},
        "goals": [
            {
                "what": v.goal.what,
                "against": v.theirs,
                "ratios": list(v.ratios),
                "least": v.goal.least,
                "aim": v.goal.aim,
                "verdict": v.word,
                "trouble": v.trouble,
            }
            for v in judged(results)
        ],
    }
    return json.dumps(report, indent=1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one window")
    parser.add_argument("--targets", default=",".join(targets.TARGETS), help="comma-separated: %(default)s")
    parser.add_argument("--only", default="", help="only scenarios whose name has this in it")
    parser.add_argument("--cache", type=Path, default=Path("~/.cache/weighbridge-bench"), help="default %(default)s")
    parser.add_argument("--quick", action="store_true", help="one round of short windows without warm-up")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.5
    options.cache = options.cache.expanduser().resolve()
    options.targets = [name.strip() for name in options.targets.split(",")]
    if unknown := [name for name in options.targets if name not in targets.TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}")
    options.scenarios = [s for s in SCENARIOS if options.only in s.name]
    return options


def main() -> int:
    end_cleanly_on_sigterm()
    options = _options()
    folder = targets.temporary_folder(options.cache)
    bench = Bench(options, folder)
    try:
        results = bench.run()
    finally:
        bench.close()
    print(_as_json(results, options) if options.json else rendered(results, _heading(options)))
    return 0 if all(v.word == "PASS" for v in judged(results)) else 1


if __name__ == "__main__":
    sys.exit(main())
