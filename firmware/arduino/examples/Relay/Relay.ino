/*
 * A relay on pin 7 that the gateway switches, and that can be made to pulse. Its state is told when it
 * changes, and once a minute.
 */

#include <Serialgate.h>

const uint8_t RELAY = 7;
const uint8_t PULSE = SERIALGATE_OWN; /* argument: milliseconds, four bytes */
const uint32_t PULSE_MAX = 10000;

Serialgate<> link(Serial, "relay 1.0");
SerialgateChannel relay(link, "relay", "", 0, SERIALGATE_STATE);

uint32_t pulseBegan;
uint32_t pulseLasts; /* 0: there is none */

void turn(bool on) {
  digitalWrite(RELAY, on ? HIGH : LOW);
  relay.send(on);
}

bool onRelay(const SerialgateValue &value) {
  pulseLasts = 0;
  turn(value.isOn());
  return true;
}

uint8_t onCommand(SerialgateCall &call) {
  if (call.command() != PULSE) {
    return SERIALGATE_UNKNOWN;
  }
  if (call.number() == 0 || call.number() > PULSE_MAX) {
    return SERIALGATE_REFUSED;
  }
  pulseBegan = millis();
  pulseLasts = call.number();
  turn(true);
  call.answer(pulseLasts);
  return SERIALGATE_OK;
}

void setup() {
  pinMode(RELAY, OUTPUT);
  Serial.begin(115200);
  relay.onSet(onRelay);
  link.onCommand(onCommand);
  link.begin();
}

void loop() {
  link.poll();
  if (pulseLasts > 0 && millis() - pulseBegan >= pulseLasts) {
    pulseLasts = 0;
    turn(false);
  }
  if (link.every(60000)) {
    relay.send(digitalRead(RELAY) == HIGH);
  }
}
