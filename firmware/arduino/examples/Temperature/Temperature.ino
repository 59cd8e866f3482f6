/*
 * One reading every ten seconds: a TMP36 on pin A0.
 *
 * Plug the board into the gateway. That is all: it says itself what it is and what it measures.
 */

#include <Serialgate.h>

Serialgate<> link(Serial, "greenhouse 1.0");
SerialgateChannel temp(link, "temp", "Cel", 2);

/* 10 mV for each degree, and 500 mV at 0 degrees. */
float readTemperature() {
  float millivolts = analogRead(A0) * 5000.0 / 1024;
  return (millivolts - 500) / 10;
}

void setup() {
  Serial.begin(115200);
  link.begin();
}

void loop() {
  link.poll();
  if (link.every(10000)) {
    temp.send(readTemperature());
  }
}
