"""Events and counts to an MQTT broker, in Frigate's manner, with Home Assistant's discovery.

<prefix>/available                online | offline, retained; the broker says offline if we die
                                  (<prefix>/nodes/<node>/available where several share a broker)
<prefix>/events                   one JSON object an event, quality of service 1
<prefix>/<camera>/state           connecting | live | lost | ended, retained
<prefix>/<camera>/people          a number, retained; so with_mask, without_mask,
                                  mask_worn_incorrectly and uncertain
<prefix>/<camera>/compliance      percent, retained; "None" while unknown
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from maskwatch.addresses import redact
from maskwatch.errors import MissingExtraError, OptionError, SourceError
from maskwatch.labels import VERDICTS
from maskwatch.sinks.spool import SpooledEvent

if TYPE_CHECKING:
    from paho.mqtt.client import Client

COUNTS = ("people", *VERDICTS)
SHOW_EVERY_S = 1.0
ANSWER_WITHIN_S = 5.0
LONGEST_PREFIX = 200


class Mqtt:
    """A client of one broker, that connects again by itself.

    Raises:
        MissingExtraError: paho-mqtt is not installed.
        OptionError: the address has no host, or a wrong port.
    """

    def __init__(self, url: str, *, discovery_prefix: str = "homeassistant", node: str = "") -> None:
        """`url`: mqtt://user:password@host:1883/prefix, or mqtts:// for TLS; prefix "maskwatch"."""
        try:
            import paho.mqtt.client as paho
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingExtraError.for_extra("MQTT", "paho-mqtt", "sinks") from error
        self.name = redact(url)
        try:
            parts = urlsplit(url)
            (parts.hostname or "").encode("idna")
            host, port = parts.hostname, parts.port or (8883 if parts.scheme == "mqtts" else 1883)
        except ValueError as error:
            raise OptionError(f"{self.name}: no broker ({error}); write mqtt://HOST:1883/prefix") from error
        if not host:
            raise OptionError(f"{self.name}: no host; write mqtt://HOST:1883/prefix")
        self.prefix = parts.path.strip("/") or "maskwatch"
        if re.search(r"[+#\x00-\x1f\x7f]", self.prefix) or len(self.prefix) > LONGEST_PREFIX:
            raise OptionError(
                f"{self.name}: a prefix holds no + and #, and at most {LONGEST_PREFIX} letters; write another"
            )
        place = f"{self.prefix}/nodes/{slug_of(node)}" if node else self.prefix
        self._available = f"{place}/available"
        self._discovery_prefix = discovery_prefix
        self._shown: dict[str, dict[str, str]] = {}
        self._shown_at: dict[str, float] = {}
        self._lock = threading.Lock()
        client_id = f"maskwatch-{uuid.uuid4().hex[:12]}"
        self._client: Client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        if parts.scheme == "mqtts":
            self._client.tls_set()
        self._client.will_set(self._available, "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(1, 30)
        self._client.on_connect = self._on_connect
        self._client.connect_async(host, port, keepalive=15)
        self._client.loop_start()

    def send(self, events: Sequence[SpooledEvent]) -> None:
        """Publish all of `events` and wait until the broker has them.

        Raises:
            SourceError: it is away, or does not answer.
        """
        if not self._client.is_connected():
            raise SourceError(f"{self.name}: no broker answers; events are kept until one does")
        sent = [
            self._client.publish(
                f"{self.prefix}/events", json.dumps({"event_id": event.event_id, **event.values}), qos=1
            )
            for event in events
        ]
        deadline = time.monotonic() + ANSWER_WITHIN_S
        for message in sent:
            try:
                message.wait_for_publish(max(0.0, deadline - time.monotonic()))
            except (RuntimeError, ValueError) as error:
                raise SourceError(f"{self.name}: the broker went away ({error})") from error
            if not message.is_published():
                raise SourceError(f"{self.name}: the broker did not answer within {ANSWER_WITHIN_S:g} s")

    def show(self, camera: str, state: str, counts: Mapping[str, int], compliance: float | None) -> None:
        """Publish a camera's state as it is now, retained: what changed, at most once a second."""
        if not self._client.is_connected():
            return  # all of it is published anew once a broker answers
        now, slug = time.monotonic(), slug_of(camera)
        values = {name: str(counts[name]) for name in COUNTS} if state == "live" else {}
        values["state"] = state
        values["compliance"] = "None" if compliance is None else f"{100 * compliance:.1f}"
        with self._lock:
            fresh = slug not in self._shown
            old = self._shown.setdefault(slug, {})
            if old.get("state") == state and now - self._shown_at.get(slug, -SHOW_EVERY_S) < SHOW_EVERY_S:
                return
            changed = {name: value for name, value in values.items() if old.get(name) != value}
            old.update(changed)
            self._shown_at[slug] = now
        if fresh:
            self._announce(camera, slug)
        for name, value in changed.items():
            self._client.publish(f"{self.prefix}/{slug}/{name}", value, qos=0, retain=True)

    def close(self) -> None:
        """Say goodbye and disconnect."""
        if self._client.is_connected():
            self._client.publish(self._available, "offline", qos=1, retain=True).wait_for_publish(1)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, _data: object, _flags: object, reason: Any, _: object) -> None:
        """Say that we are here, and let everything be published anew."""
        if reason.is_failure:
            return
        client.publish(self._available, "online", qos=1, retain=True)
        with self._lock:
            self._shown.clear()
            self._shown_at.clear()

    def _announce(self, camera: str, slug: str) -> None:
        """Tell Home Assistant which sensors a camera has (MQTT discovery)."""
        node = f"{slug_of(self.prefix)}_{slug}"
        common = {
            "availability_topic": self._available,
            "device": {"identifiers": [node], "name": f"maskwatch {camera}", "manufacturer": "maskwatch"},
        }
        sensors: dict[str, dict[str, Any]] = {
            name: {"state_class": "measurement", "icon": "mdi:face-mask"} for name in COUNTS
        }
        sensors["compliance"] = {"state_class": "measurement", "unit_of_measurement": "%"}
        for name, extra in sensors.items():
            self._configure("sensor", node, name, {**common, **extra}, f"{self.prefix}/{slug}/{name}")
        is_live = {"device_class": "connectivity", "payload_on": "live", "payload_off": "lost"}
        self._configure("binary_sensor", node, "state", {**common, **is_live}, f"{self.prefix}/{slug}/state")

    def _configure(self, kind: str, node: str, name: str, values: dict[str, Any], topic: str) -> None:
        content = {
            "name": name.replace("_", " "),
            "unique_id": f"{node}_{name}",
            "state_topic": topic,
            **values,
        }
        where = f"{self._discovery_prefix}/{kind}/{node}/{name}/config"
        self._client.publish(where, json.dumps(content), qos=1, retain=True)


def slug_of(name: str) -> str:
    """`name` as one level of a topic: letters, digits, - and _."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "camera"
