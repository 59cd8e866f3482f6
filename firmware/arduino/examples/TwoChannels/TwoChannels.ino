/*
 * Two values in one reading, taken at one moment: temperature and humidity.
 *
 * With a DHT22, a BME280 or an SHT31 put their library's calls into the two functions. What is not a
 * number (NAN, as most of them give when the sensor does not answer) goes as "nothing", and the gateway
 * shows null.
 */

#include <Serialgate.h>

Serialgate<> link(Serial, "weather 1.0");
SerialgateChannel temp(link, "temp", "Cel", 2);
SerialgateChannel hum(link, "hum", "%RH", 1);

/* A TMP36 on A0; without one the pin is at the ground. */
float readTemperature() {
  int steps = analogRead(A0);
  return steps == 0 ? NAN : (steps * 5000.0 / 1024 - 500) / 10;
}

/* An HIH-4030 on A1. */
float readHumidity() {
  return (analogRead(A1) / 1024.0 - 0.16) / 0.0062;
}

void setup() {
  Serial.begin(115200);
  link.begin();
  link.log(F("weather station is up"));
}

void loop() {
  link.poll();
  if (link.every(10000)) {
    temp.put(readTemperature());
    hum.put(readHumidity());
    link.send();
  }
}
