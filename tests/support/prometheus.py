"""A Prometheus of a test's own: Debian's, on a free port, scraping one target every half second."""

from __future__ import annotations

import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import httpx2

from support.governed import until

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

PROMETHEUS = shutil.which("prometheus")
NO_PROMETHEUS = "no prometheus was found: apt-get install prometheus"
CONFIG = """\
global: {{scrape_interval: 500ms}}
scrape_configs:
  - job_name: governed
    static_configs: [{{targets: ["127.0.0.1:{target}"]}}]
"""


class Prometheus:
    """A running server, ended with the `with` block.

    Args:
        folder: Where its configuration and its data go.
        target: The port that it scrapes.
    """

    def __init__(self, folder: Path, target: int) -> None:
        self._config, self._data = folder / "prometheus.yml", folder / "data"
        self._config.write_text(CONFIG.format(target=target), encoding="utf-8")
        self.port = _free_port()
        self._client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False)

    def __enter__(self) -> Self:
        assert PROMETHEUS is not None, NO_PROMETHEUS
        options = (
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._data}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        with (self._config.parent / "log").open("wb") as log:
            self._process = subprocess.Popen([PROMETHEUS, *options], stdout=log, stderr=log)
        until(self._ready, 60)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(30)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query, now.

        Raises:
            AssertionError: It is refused; the message is the server's.
        """
        answer = self._client.get("/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", f"{answer.get('error')} in {expression}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The one value of an instant query; `None`: it has none yet."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._config.parent / "log").read_text()
        try:
            return self._client.get("/-/ready").is_success
        except httpx2.TransportError:
            return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
