"""Clients of gmqtt that do what they are told."""

import asyncio
import json
import logging
import ssl
import sys

import gmqtt
from gmqtt.mqtt.constants import UNLIMITED_RECONNECTS, MQTTv50, MQTTv311
from gmqtt.mqtt.handler import MQTTConnectError
from gmqtt.storage import PersistentStorage

from commands import message, payload, say

PATIENCE = 60

# Messages under way in a burst; gmqtt has an id for each of them, as many as the broker allows.
WINDOW = 50

OF_MESSAGES = {
    "format": "payload_format_id",
    "content_type": "content_type",
    "response_topic": "response_topic",
    "correlation": "correlation_data",
    "expiry": "message_expiry_interval",
    "alias": "topic_alias",
    "user": "user_property",
    "delay": "will_delay_interval",
}
OF_CONNECTIONS = {
    "session_expiry": "session_expiry_interval",
    "receive_maximum": "receive_maximum",
    "maximum_packet_size": "maximum_packet_size",
    "topic_alias_maximum": "topic_alias_maximum",
    "assigned_client_id": "assigned_client_identifier",
}


def properties(names, order):
    """An order's properties as gmqtt's."""
    result = {}
    for ours, theirs in names.items():
        if ours in order:
            value = order[ours]
            if ours == "correlation":
                value = value.encode()
            if ours == "user":
                value = [tuple(pair) for pair in value]
            result[theirs] = value
    return result


def plain(names, found):
    """gmqtt's properties, each a list, under our names."""
    result = {}
    for ours, theirs in names.items():
        if theirs in found:
            values = found[theirs]
            value = values[0] if isinstance(values, list) else values
            if ours == "correlation":
                value = value.decode()
            result[ours] = values if ours == "user" else value
    if "subscription_identifier" in found:
        result["ids"] = found["subscription_identifier"]
    return result


class Client:
    """One client, and what it waits for."""

    def __init__(self, order):
        self.name = order["client"]
        self.version = MQTTv50 if order["version"] == 5 else MQTTv311
        self.stored = PersistentStorage()
        self.answers = {}
        self.connack = None
        self.ended = asyncio.Event()
        will = None
        if "will" in order:
            ordered = order["will"]
            will = gmqtt.Message(
                ordered["topic"],
                payload(ordered),
                ordered.get("qos", 0),
                ordered.get("retain", False),
                **properties(OF_MESSAGES, ordered),
            )
        self.mqtt = gmqtt.Client(
            order.get("id", self.name),
            clean_session=order.get("clean", True),
            will_message=will,
            persistent_storage=self.stored,
            **properties(OF_CONNECTIONS, order),
        )
        if order.get("reconnect", False):
            self.mqtt.set_config({"reconnect_retries": UNLIMITED_RECONNECTS, "reconnect_delay": 1})
        else:
            self.mqtt.stop_reconnect()
        self.mqtt.on_connect = self.connected
        self.mqtt.on_message = self.came
        self.mqtt.on_subscribe = lambda _c, mid, reasons, _p: self.answer(mid, reasons)
        self.mqtt.on_unsubscribe = lambda _c, mid, reasons: self.answer(mid, reasons)
        self.mqtt.on_disconnect = self.disconnected

    def answer(self, mid, reasons):
        self.answers.setdefault(mid, asyncio.get_running_loop().create_future()).set_result(list(reasons))

    async def wait(self, mid):
        future = self.answers.setdefault(mid, asyncio.get_running_loop().create_future())
        reasons = await asyncio.wait_for(future, PATIENCE)
        del self.answers[mid]
        return {"reasons": reasons}

    def connected(self, _client, present, _reason, found):
        self.connack = {"present": bool(present), **plain(OF_CONNECTIONS, found)}

    def disconnected(self, _client, packet, exc=None):
        # Over 5.0 a DISCONNECT begins with the reason; one without content is the library's own word
        # for a closed connection.
        reason = packet[0] if isinstance(packet, bytes) and packet else None
        self.ended.set()
        say(client=self.name, closed=str(exc or "closed"), reason=reason)

    def came(self, _client, topic, content, qos, found):
        known = plain(OF_MESSAGES, found)
        message(self.name, topic, content, qos, found["retain"], found["dup"], known)
        return 0

    async def connect(self, order):
        if "username" in order:
            self.mqtt.set_auth_credentials(order["username"], order.get("password"))
        secure = False
        if "ca" in order:
            secure = ssl.create_default_context(cafile=order["ca"])
            if "certificate" in order:
                secure.load_cert_chain(order["certificate"], order["key"])
        connecting = self.mqtt.connect(
            order["host"], order["port"], ssl=secure, keepalive=order.get("keep_alive", 60), version=self.version
        )
        # Where the connection ends before CONNACK, the library goes on waiting for it.
        connected, ended = asyncio.ensure_future(connecting), asyncio.ensure_future(self.ended.wait())
        await asyncio.wait({connected, ended}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not connected.done():
            connected.cancel()
            raise ConnectionError("closed before CONNACK")
        connected.result()
        return self.connack

    async def subscribe(self, order):
        more = {}
        if "subscription_id" in order:
            more["subscription_identifier"] = order["subscription_id"]
        mid = self.mqtt.subscribe(
            order["filter"],
            order.get("qos", 0),
            no_local=order.get("no_local", False),
            retain_as_published=order.get("retain_as_published", False),
            retain_handling_options=order.get("retain_handling", 0),
            **more,
        )
        return await self.wait(mid)

    async def unsubscribe(self, order):
        return await self.wait(self.mqtt.unsubscribe(order["filter"]))

    async def acknowledged(self):
        await asyncio.wait_for(self.stored.wait_empty(), PATIENCE)

    async def publish(self, order):
        found = properties(OF_MESSAGES, order)
        self.mqtt.publish(
            order["topic"], payload(order), order.get("qos", 0), order.get("retain", False), **found
        )
        await self.acknowledged()
        return {}

    async def burst(self, order):
        for n in range(order["count"]):
            if n % WINDOW == 0:
                await asyncio.sleep(0)
                await self.acknowledged()
            self.mqtt.publish(order["topic"], f"{order['prefix']}{n}", order["qos"])
        await self.acknowledged()
        return {}

    async def disconnect(self, order):
        await self.mqtt.disconnect(**properties({"session_expiry": "session_expiry_interval"}, order))
        return {}


async def main():
    clients = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        try:
            if order["do"] == "connect":
                clients[order["client"]] = Client(order)
            result = await getattr(clients[order["client"]], order["do"])(order)
            say(answer=order["order"], ok=result)
        except MQTTConnectError as error:
            say(answer=order["order"], error=str(error), reason=error._code)
        except Exception as error:  # Whatever the library says is for the test to judge.
            say(answer=order["order"], error=f"{type(error).__name__}: {error}")


logging.basicConfig(level=logging.ERROR)
asyncio.run(main())
