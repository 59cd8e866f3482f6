/*
 * A water meter with one pulse a litre on pin 2. Count and readings are in memory that a reset leaves
 * alone: opening the port, the reset button and the watchdog cost nothing. Only a loss of power begins
 * at zero again.
 */

#include <Serialgate.h>

SERIALGATE_NOINIT uint8_t memory[500];
SerialgateRam kept(memory, sizeof memory);

Serialgate<0> link(Serial, "water 1.0");
SerialgateChannel volume(link, "volume", "l", 0, SERIALGATE_COUNTER);

/* The second is the first with all bits inverted, or power was lost. */
SERIALGATE_NOINIT volatile uint32_t pulses;
SERIALGATE_NOINIT volatile uint32_t check;

void onPulse() {
  pulses = pulses + 1;
  check = ~pulses;
}

void setup() {
  Serial.begin(115200);
  if (check != ~pulses) {
    pulses = 0;
    check = ~pulses;
  }
  pinMode(2, INPUT_PULLUP);
  attachInterrupt(digitalPinToInterrupt(2), onPulse, FALLING);
  link.begin(kept);
}

void loop() {
  link.poll();
  if (link.every(60000)) {
    noInterrupts();
    uint32_t litres = pulses;
    interrupts();
    volume.send(litres);
  }
}
