"""`weighbridge doctor`: one finding for everything that a request needs, and 1 when something is broken."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bookkeeping import record
from commanding import ConfigFile

from weighbridge import metering
from weighbridge.ledger.sqlite import SQLite


async def test_all_is_well(config: ConfigFile, weighbridge) -> None:
    ended = await weighbridge("doctor")
    assert ended.code == 0, ended.out
    assert ended.out.endswith("Everything works.\n")
    assert "classifier: length (length) loads in" in ended.out
    assert "ledger: ledger.db will be made with the first start" in ended.out
    assert not config.beside("ledger.db").exists()


async def test_the_findings_come_as_json(config: ConfigFile, weighbridge) -> None:
    found = json.loads((await weighbridge("doctor", "--json")).out)
    assert found["ok"] is True
    names = [finding["name"] for finding in found["findings"]]
    assert names == [
        *("python", "packages", "config", "callers", "classifier", "upstream small", "upstream large"),
        *("price small", "price large", "energy", "ledger", "port"),
    ]


async def test_an_upstream_that_is_not_there_is_broken(config: ConfigFile, weighbridge) -> None:
    _use_ollama(config, "http://127.0.0.1:9")
    ended = await weighbridge("doctor")
    assert ended.code == 1
    assert "FAIL  upstream small: The upstream cannot be reached. (http://127.0.0.1:9)" in ended.out
    assert "1 of 12 need attention." in ended.out


async def test_a_model_that_is_not_installed_is_told_with_the_remedy(
    config: ConfigFile, listening, weighbridge
) -> None:
    url = await listening({"/api/version": {"version": "0.13.0"}, "/api/tags": {"models": [{"name": "other:1b"}]}})
    _use_ollama(config, url)
    ended = await weighbridge("doctor")
    assert ended.code == 1
    assert "upstream small: " in ended.out
    assert "FAIL" in ended.out


async def test_a_model_that_is_there_is_told(config: ConfigFile, listening, weighbridge) -> None:
    url = await listening({"/api/version": {"version": "0.13.0"}, "/api/show": {"model_info": {}}})
    _use_ollama(config, url)
    ended = await weighbridge("doctor")
    assert ended.code == 0, ended.out
    assert "upstream small: Ollama 0.13.0 has sim-small" in ended.out


def _use_ollama(config: ConfigFile, url: str) -> None:
    config.change('use = "simulated"', f'use = "ollama"\nbase_url = "{url}"')


async def test_a_window_larger_than_the_servers_is_a_warning(config: ConfigFile, listening, weighbridge) -> None:
    url = await listening(
        {
            "/props": {"default_generation_settings": {"n_ctx": 4096}, "total_slots": 2, "model_alias": "sim-small"},
            "/slots": [{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}],
            "/v1/models": {"data": [{"id": "sim-small"}]},
        }
    )
    config.change('use = "simulated"', f'use = "openai"\nbase_url = "{url}/v1"')
    ended = await weighbridge("doctor")
    assert ended.code == 0
    assert (
        "warn  upstream small: answers, and serves sim-small; llama.cpp: loaded, holds 4,096 tokens, 1 of 2 at work; "
        "context_window = 8192 is more than that: only 4096 are used"
    ) in " ".join(ended.out.split()).replace("warn upstream", "warn  upstream")


async def test_a_server_with_another_model_is_a_warning(config: ConfigFile, listening, weighbridge) -> None:
    url = await listening({"/props": {"model_path": "/models/other-7b.gguf"}, "/v1/models": {"data": [{"id": "x"}]}})
    config.change('use = "simulated"', f'use = "openai"\nbase_url = "{url}/v1"')
    out = " ".join((await weighbridge("doctor")).out.split())
    assert "warn  upstream small: answers, but does not list sim-small" in out.replace(
        "warn upstream", "warn  upstream"
    )
    assert "serves other-7b, not sim-small" in out


async def test_a_price_that_is_not_known_is_a_warning(config: ConfigFile, weighbridge) -> None:
    config.change('input_usd_per_mtok = "1"\noutput_usd_per_mtok = "4.50"\n', "")
    ended = await weighbridge("doctor")
    assert ended.code == 0
    assert "warn  price large: sim-large is not in the price table: its costs will be recorded as unknown" in ended.out


async def test_every_mistake_of_the_config_is_a_finding(config: ConfigFile, weighbridge) -> None:
    config.change("port = 0", "prot = 0")
    config.change('"length"', '"lenght"')
    ended = await weighbridge("doctor", "--json")
    assert ended.code == 1
    found = [f["detail"] for f in json.loads(ended.out)["findings"] if f["status"] == "fail"]
    assert len(found) == 2
    assert "did you mean length?" in found[1]


async def test_a_classifier_that_does_not_load_is_broken(config: ConfigFile, weighbridge) -> None:
    config.change('use = "length"', 'use = "minilm"\nartefact = "nowhere"')
    ended = await weighbridge("doctor")
    assert ended.code == 1
    assert "FAIL  classifier: " in ended.out


async def test_missing_keys_of_callers_are_broken(config: ConfigFile, weighbridge) -> None:
    config.change("port = 0", 'port = 0\napi_keys_env = "OUR_KEYS"')
    assert (await weighbridge("doctor")).code == 1
    assert "callers: 2 in OUR_KEYS" in (await weighbridge("doctor", env={"OUR_KEYS": "a, b"})).out


async def test_a_key_that_can_be_guessed_is_a_warning(config: ConfigFile, weighbridge) -> None:
    config.change("port = 0", 'port = 0\napi_keys_env = "OUR_KEYS"')
    ended = await weighbridge("doctor", env={"OUR_KEYS": "secret"})
    assert ended.code == 0
    assert "warn  callers: 1 in OUR_KEYS, of which the shortest can be guessed" in ended.out
    assert "secret" not in ended.out


async def test_the_keys_file_is_looked_into(config: ConfigFile, weighbridge) -> None:
    config.change("port = 0", 'port = 0\nkeys_path = "keys.json"')
    missing = await weighbridge("doctor")
    assert missing.code == 1
    assert "FAIL  callers: keys.json: there is no such keys file" in missing.out
    config.beside("keys.json").touch(mode=0o600)
    assert "it lets nobody in; `weighbridge keys add NAME` makes one" in (await weighbridge("doctor")).out
    await weighbridge("keys", "add", "ci")
    assert "callers: 1 in keys.json" in (await weighbridge("doctor")).out


@pytest.mark.parametrize("path", ["nowhere/ledger.db", "not-a-ledger.db"])
async def test_a_ledger_that_cannot_be_written_is_broken(path: str, config: ConfigFile, weighbridge) -> None:
    config.beside("not-a-ledger.db").write_text("something else altogether, and long enough to be looked at " * 40)
    ended = await weighbridge("doctor", env={"WEIGHBRIDGE_LEDGER__PATH": path})
    assert ended.code == 1
    assert "FAIL  ledger: " in ended.out


async def test_a_port_that_another_server_has_is_broken(config: ConfigFile, listening, weighbridge) -> None:
    port = (await listening({})).rpartition(":")[2]
    ended = await weighbridge("doctor", env={"WEIGHBRIDGE_SERVER__PORT": port})
    assert ended.code == 1
    assert f"FAIL  port: 127.0.0.1:{port} cannot be had: Address already in use; set server.port" in ended.out


async def test_a_port_that_we_serve_is_fine_and_the_ledger_shared(config: ConfigFile, serve, weighbridge) -> None:
    gateway = await serve()
    port = gateway.base_url.removesuffix("/v1").rpartition(":")[2]
    ended = await weighbridge("doctor", env={"WEIGHBRIDGE_SERVER__PORT": port})
    assert ended.code == 0, ended.out
    assert f"port: {port} is served by a running Weighbridge" in ended.out
    assert "ledger: ledger.db can be written" in ended.out
    await gateway.end()


async def test_traffic_that_all_goes_one_way_is_a_warning(config: ConfigFile, weighbridge) -> None:
    ledger = SQLite(path=str(config.beside("ledger.db")))
    await ledger.aopen()
    at = datetime.now(UTC) - timedelta(hours=1)
    for i in range(100):
        await record(ledger, request_id=str(i), created_at=at, started_at=at, upstream="small")
    await ledger.aclose()
    ended = await weighbridge("doctor")
    assert ended.code == 0
    assert "warn  traffic: small took 100.0% of the 100 requests of auto" in ended.out


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one processor that counts, and no card."""
    place = tmp_path / "powercap" / "intel-rapl:0"
    place.mkdir(parents=True)
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "999999"), ("energy_uj", "0")):
        (place / name).write_text(f"{text}\n")
    monkeypatch.setattr(metering, "POWERCAP", place.parent)
    monkeypatch.setattr(metering, "NVML", str(tmp_path / "nothing.so"))
    return place


async def _energy(weighbridge) -> str:
    found = json.loads((await weighbridge("doctor", "--json")).out)["findings"]
    return next(finding["detail"] for finding in found if finding["name"] == "energy")


async def test_what_counts_energy_is_told(config: ConfigFile, powercap: Path, weighbridge) -> None:
    unknown = "what small draws stays unknown: set watts in [upstreams.small.electricity]"
    assert await _energy(weighbridge) == f"RAPL counts package-0; NVML counts no card; {unknown}"
    (powercap / "energy_uj").unlink()  # as good as one that we may not read
    told = await _energy(weighbridge)
    assert told.startswith("1 RAPL counter cannot be read: mostly only root may; NVML counts no card; ")
    shutil.rmtree(powercap)
    assert (await _energy(weighbridge)).startswith("there is no RAPL; ")


async def test_a_server_on_this_machine_is_measured_and_else_its_watts_count(
    config: ConfigFile, powercap: Path, weighbridge
) -> None:
    _use_ollama(config, "http://127.0.0.1:9")
    assert (await _energy(weighbridge)).endswith("; small is measured")
    watts = '[upstreams.small.electricity]\nwatts = 65\nusd_per_kwh = "0.3"\n[upstreams.large]'
    config.change('output_usd_per_mtok = "0"\n[upstreams.large]', f'output_usd_per_mtok = "0"\n{watts}')
    config.change('input_usd_per_mtok = "0"\noutput_usd_per_mtok = "0"\n', "")
    config.change("[classifier]", "[energy]\nmeasure = false\n[classifier]")
    assert await _energy(weighbridge) == "no counter is read: energy.measure = false; small is reckoned with 65 W"
