/*
 * A long line: an RS-485 driver (MAX485, SN75176) on the serial port, its DE and /RE on pin 2.
 *
 * One board and one gateway. Both may begin at the same time; what is damaged then is sent again. Slow
 * is far: 19200 baud reach over a kilometre.
 */

#include <Serialgate.h>

Serialgate<> link(Serial, "well 1.0");
SerialgateChannel level(link, "level", "mm");

void setup() {
  Serial.begin(19200);
  link.setDriver(2);
  link.begin();
}

void loop() {
  link.poll();
  if (link.every(5000)) {
    level.send(map(analogRead(A0), 0, 1023, 0, 5000));
  }
}
