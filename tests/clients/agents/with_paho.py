"""Clients of paho-mqtt that do what they are told."""

import json
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from commands import message, payload, say

PATIENCE = 60

# Our names of the properties of a message, and paho's.
OF_MESSAGES = {
    "format": "PayloadFormatIndicator",
    "content_type": "ContentType",
    "response_topic": "ResponseTopic",
    "correlation": "CorrelationData",
    "expiry": "MessageExpiryInterval",
    "alias": "TopicAlias",
    "user": "UserProperty",
    "delay": "WillDelayInterval",
}
OF_CONNECTIONS = {
    "session_expiry": "SessionExpiryInterval",
    "receive_maximum": "ReceiveMaximum",
    "maximum_packet_size": "MaximumPacketSize",
    "topic_alias_maximum": "TopicAliasMaximum",
    "assigned_client_id": "AssignedClientIdentifier",
}


def properties(kind, names, order):
    """An order's properties as paho's."""
    result = Properties(kind)
    for ours, theirs in names.items():
        if ours in order:
            value = order[ours]
            if ours == "correlation":
                value = value.encode()
            if ours == "user":
                value = [tuple(pair) for pair in value]
            setattr(result, theirs, value)
    return result


def plain(names, found):
    """paho's properties under our names."""
    result = {ours: getattr(found, theirs, None) for ours, theirs in names.items()}
    if result.get("correlation") is not None:
        result["correlation"] = result["correlation"].decode()
    result["ids"] = getattr(found, "SubscriptionIdentifier", None)
    return {name: value for name, value in result.items() if value is not None}


class Client:
    """One client, and what it waits for."""

    def __init__(self, order):
        self.name = order["client"]
        self.is_v5 = order["version"] == 5
        self.reconnects = order.get("reconnect", False)
        self.answers = {}
        self.answered = threading.Condition()
        options = {} if self.is_v5 else {"clean_session": order.get("clean", True)}
        self.mqtt = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=order.get("id", self.name),
            protocol=mqtt.MQTTv5 if self.is_v5 else mqtt.MQTTv311,
            transport=order.get("transport", "tcp"),
            reconnect_on_failure=self.reconnects,
            **options,
        )
        self.mqtt.reconnect_delay_set(1, 1)
        self.mqtt.on_connect = lambda _c, _u, flags, reason, found: self.answer(
            "connack", (flags, reason, found)
        )
        self.mqtt.on_publish = lambda _c, _u, mid, reason, _p: self.answer(("publish", mid), reason)
        self.mqtt.on_subscribe = lambda _c, _u, mid, reasons, _p: self.answer(("subscribe", mid), reasons)
        self.mqtt.on_unsubscribe = lambda _c, _u, mid, reasons, _p: self.answer(("unsubscribe", mid), reasons)
        self.mqtt.on_disconnect = self.disconnected
        self.mqtt.on_message = self.came

    def answer(self, key, value):
        with self.answered:
            self.answers[key] = value
            self.answered.notify_all()

    def wait(self, key):
        with self.answered:
            self.answered.wait_for(lambda: key in self.answers or "end" in self.answers, PATIENCE)
            if key not in self.answers:
                raise ConnectionError(self.answers.get("end", f"no answer: {key}"))
            return self.answers.pop(key)

    def disconnected(self, _client, _userdata, _flags, reason, _properties):
        if not self.reconnects:
            self.answer("end", str(reason))
        say(client=self.name, closed=str(reason), reason=reason.value)

    def came(self, _client, _userdata, found):
        known = plain(OF_MESSAGES, found.properties) if found.properties else {}
        message(self.name, found.topic, found.payload, found.qos, found.retain, found.dup, known)

    def connect(self, order):
        if "username" in order:
            self.mqtt.username_pw_set(order["username"], order.get("password"))
        if "ca" in order:
            self.mqtt.tls_set(order["ca"], order.get("certificate"), order.get("key"))
        if "will" in order:
            will = order["will"]
            found = properties(PacketTypes.WILLMESSAGE, OF_MESSAGES, will) if self.is_v5 else None
            self.mqtt.will_set(
                will["topic"], payload(will), will.get("qos", 0), will.get("retain", False), found
            )
        more = {}
        if self.is_v5:
            more["clean_start"] = order.get("clean", True)
            more["properties"] = properties(PacketTypes.CONNECT, OF_CONNECTIONS, order)
        self.mqtt.connect(order["host"], order["port"], order.get("keep_alive", 60), **more)
        self.mqtt.loop_start()
        flags, reason, found = self.wait("connack")
        if reason.is_failure:
            raise ConnectionRefusedError(reason.value, str(reason))
        return {"present": flags.session_present, **(plain(OF_CONNECTIONS, found) if found else {})}

    def subscribe(self, order):
        if self.is_v5:
            options = SubscribeOptions(
                order.get("qos", 0),
                order.get("no_local", False),
                order.get("retain_as_published", False),
                order.get("retain_handling", 0),
            )
            found = Properties(PacketTypes.SUBSCRIBE)
            if "subscription_id" in order:
                found.SubscriptionIdentifier = order["subscription_id"]
            _, mid = self.mqtt.subscribe(order["filter"], options=options, properties=found)
        else:
            _, mid = self.mqtt.subscribe(order["filter"], order.get("qos", 0))
        return {"reasons": [reason.value for reason in self.wait(("subscribe", mid))]}

    def unsubscribe(self, order):
        _, mid = self.mqtt.unsubscribe(order["filter"])
        return {"reasons": [reason.value for reason in self.wait(("unsubscribe", mid))]}

    def publish(self, order):
        found = properties(PacketTypes.PUBLISH, OF_MESSAGES, order) if self.is_v5 else None
        sent = self.mqtt.publish(
            order["topic"], payload(order), order.get("qos", 0), order.get("retain", False), found
        )
        return {"reason": self.wait(("publish", sent.mid)).value}

    def burst(self, order):
        mids = [
            self.mqtt.publish(order["topic"], f"{order['prefix']}{n}", order["qos"]).mid
            for n in range(order["count"])
        ]
        for mid in mids:
            self.wait(("publish", mid))
        return {}

    def disconnect(self, order):
        found = None
        if "session_expiry" in order:
            found = properties(PacketTypes.DISCONNECT, OF_CONNECTIONS, order)
        self.mqtt.disconnect(properties=found)
        self.mqtt.loop_stop()
        return {}


def main():
    clients = {}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "connect":
                clients[order["client"]] = Client(order)
            result = getattr(clients[order["client"]], order["do"])(order)
            say(answer=order["order"], ok=result)
        except ConnectionRefusedError as error:
            say(answer=order["order"], error=error.strerror, reason=error.errno)
        except Exception as error:  # Whatever the library says is for the test to judge.
            say(answer=order["order"], error=f"{type(error).__name__}: {error}")


main()
