"""`[server]`: where to listen, whom to let in, and how much of anybody's time and space one connection may take."""

import ipaddress
import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

# As a browser sends it: in lower case, without a path, without the port that its scheme implies.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@*A-Z]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?")


class Server(BaseModel):
    """`[server]`. The limits hold for each process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8484, ge=0, le=65535)
    api_keys_env: str = ""
    keys_path: str = ""
    cors_origins: tuple[str, ...] = ()
    max_body_mb: float = Field(default=16, gt=0, le=1024)
    max_header_kb: float = Field(default=16, ge=1, le=1024)
    max_headers: int = Field(default=100, ge=1, le=10_000)
    max_connections: int = Field(default=4096, ge=1)
    max_memory_mb: float | None = Field(default=None, ge=64)  # resident; above it nothing new is begun
    header_timeout_s: float = Field(default=10, gt=0)
    body_timeout_s: float = Field(default=30, gt=0)
    idle_timeout_s: float = Field(default=75, gt=0)  # longer than the usual clients', so that they close first
    write_timeout_s: float = Field(default=60, gt=0)
    drain_delay_s: float = Field(default=0.5, ge=0)  # after SIGTERM: unready, and still listening
    drain_s: float = Field(default=30, ge=0)  # how long running requests may take to end after SIGTERM

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f'holds {origin!r}, which is not an origin: write "https://HOST" or "http://HOST:PORT"'
                )
        return origins

    @property
    def needs_key(self) -> bool:
        """Callers have to show a key."""
        return bool(self.api_keys_env or self.keys_path)

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
