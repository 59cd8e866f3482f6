/*
 * What the tests of the emulated board run: a number that rises by one with each reading, and what is at
 * A0. It prints a line of text now and then, as people do. With -DKEPT its readings outlive a reset, with
 * -DEEPROM a loss of power.
 */

#include <Serialgate.h>

#ifndef INTERVAL_MS
#define INTERVAL_MS 1000
#endif

#ifdef KEPT
SERIALGATE_NOINIT uint8_t memory[700];
SerialgateRam kept(memory, sizeof memory);
Serialgate<0> link(Serial, "kept 1.0");
#elif defined(EEPROM)
SerialgateEeprom kept;
Serialgate<0> link(Serial, "eeprom 1.0");
#else
/* A minute of readings: an outage of half of that, on a machine that may be slow besides. */
Serialgate<1000> link(Serial, "bench 1.0");
#endif
SerialgateChannel number(link, "n", "1", 0, SERIALGATE_COUNTER);
SerialgateChannel volts(link, "volts", "V", 2);
SerialgateChannel lamp(link, "lamp", "", 0, SERIALGATE_STATE);

unsigned long made;

bool onLamp(const SerialgateValue &value) {
  digitalWrite(LED_BUILTIN, value.isOn() ? HIGH : LOW);
  lamp.send(value.isOn());
  return true;
}

uint8_t onCommand(SerialgateCall &call) {
  call.answer(call.byteAt(0) + 1);
  return call.command() == SERIALGATE_OWN ? SERIALGATE_OK : SERIALGATE_UNKNOWN;
}

void setup() {
  pinMode(LED_BUILTIN, OUTPUT);
  Serial.begin(115200);
  Serial.println("bench: hello");
  lamp.onSet(onLamp);
  link.onCommand(onCommand);
#if defined(KEPT) || defined(EEPROM)
  link.begin(kept);
#else
  link.begin();
#endif
  link.log(F("bench is up"));
}

void loop() {
  link.poll();
  if (link.every(INTERVAL_MS)) {
    number.put(made++);
    volts.put(analogRead(A0) * 5.0 / 1024);
    link.send();
    if (made % 5 == 0) {
      Serial.println("bench: still here");
    }
  }
}
