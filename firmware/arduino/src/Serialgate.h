/*
 * Sensor readings over a serial line, to a Serialgate gateway.
 *
 *   Serialgate<> link(Serial, "greenhouse 1.0");
 *   SerialgateChannel temp(link, "temp", "Cel", 2);
 *
 *   void setup() { Serial.begin(115200); link.begin(); }
 *   void loop() {
 *     link.poll();
 *     if (link.every(10000)) temp.send(readTemperature());
 *   }
 *
 * Nothing here waits: whoever calls poll() often gets everything else for it. Licence: Apache-2.0.
 */
#ifndef SERIALGATE_ARDUINO_H
#define SERIALGATE_ARDUINO_H

#include <Arduino.h>

#include "core/serialgate.h"

/* What a channel measures: a value that goes up and down, a count that only rises, a state that holds
 * until it changes, something that happened. */
enum SerialgateKind : uint8_t {
    SERIALGATE_GAUGE = SG_GAUGE,
    SERIALGATE_COUNTER = SG_COUNTER,
    SERIALGATE_STATE = SG_STATE,
    SERIALGATE_EVENT = SG_EVENT
};

/* How a command went. Others, from 3 on, are the sketch's own. */
const uint8_t SERIALGATE_OK = SG_OK;
const uint8_t SERIALGATE_UNKNOWN = SG_UNKNOWN;
const uint8_t SERIALGATE_REFUSED = SG_REFUSED;

/* The first of the commands that are the sketch's own, up to 255. */
const uint8_t SERIALGATE_OWN = SG_OWN;

/* Bytes that hold readings until the gateway has them, if the sketch does not say: Serialgate<1000>
 * link(...). A reading takes 5, and 4 for each value (6 for one beyond 32767 of its smallest steps). */
#ifndef SERIALGATE_RING
#ifdef __AVR__
#define SERIALGATE_RING (RAMEND > 0x1000 ? 2048 : 512)
#else
#define SERIALGATE_RING 8192
#endif
#endif

class SerialgateLink;
class SerialgateStorage;

/* A value that the gateway sets on a channel. */
class SerialgateValue {
  public:
    explicit SerialgateValue(const sg_item &item) : item_(item) {}

    /* In steps of 10^-decimals: number(1) of 21.57 is 215. 0 for what is no number. */
    long number(uint8_t decimals = 0) const;
    float real() const;
    bool isOn() const { return number() != 0; }
    /* Copies a text, cut off to `size` bytes with the closing zero. */
    void text(char *to, size_t size) const;

  private:
    const sg_item &item_;
};

/* A command of the sketch's own. */
class SerialgateCall {
  public:
    SerialgateCall(sg_link &link, uint8_t command, const uint8_t *arguments, uint8_t size)
        : link_(link), arguments_(arguments), command_(command), size_(size) {}

    uint8_t command() const { return command_; }
    /* Its arguments are bytes; there are 0 behind the last. */
    uint8_t size() const { return size_; }
    uint8_t byteAt(uint8_t index) const { return index < size_ ? arguments_[index] : 0; }
    /* Four of them from there on, the lowest first. */
    uint32_t number(uint8_t index = 0) const;
    /* Gives a number back, with the RESULT. There is room for one. */
    bool answer(long value) { return sg_result_int(&link_, 0, value); }

  private:
    sg_link &link_;
    const uint8_t *arguments_;
    uint8_t command_;
    uint8_t size_;
};

typedef bool (*SerialgateSetter)(const SerialgateValue &value);
typedef uint8_t (*SerialgateCommand)(SerialgateCall &call);

/* One quantity that the board measures or does. A global object, like its link. */
class SerialgateChannel : private sg_channel {
  public:
    /* `unit` as in SenML or UCUM: "Cel", "%RH", "Pa", "1/min"; "" for none. `decimals`, up to 8, are
     * what is kept of a number. */
    SerialgateChannel(SerialgateLink &link, const char *name, const char *unit = "", uint8_t decimals = 0,
                      SerialgateKind kind = SERIALGATE_GAUGE);

    /* One value of a reading, which link.send() ends. What is no number, or too large, goes as
     * "nothing", with the reason. */
    void put(double value);
    void put(long value);
    void put(unsigned long value);
    void put(bool value);
    void put(const char *text);
    void put(float value) { put(static_cast<double>(value)); }
    void put(int value) { put(static_cast<long>(value)); }
    void put(unsigned value) { put(static_cast<unsigned long>(value)); }
    /* There was nothing to read. `reason` of the sketch's own: 3 to 15. */
    void putNothing(uint8_t reason = SG_UNREADABLE);

    /* A reading of this value alone. */
    template <typename T> bool send(T value);

    /* Lets the gateway set this channel. `setter` tells whether it did. */
    void onSet(SerialgateSetter setter);

  private:
    friend class SerialgateLink;

    void putScaled(int32_t steps);
    uint8_t decimals() const { return static_cast<uint8_t>(-static_cast<int8_t>(format << 4) >> 4); }

    SerialgateLink &link_;
    SerialgateSetter setter_;
};

/* The link without its memory: see Serialgate below. */
class SerialgateLink {
  public:
    /* Begins, behind Serial.begin(). */
    void begin();
    /* The same, and readings outlive a reset: see SerialgateStorage.h. */
    void begin(SerialgateStorage &storage);

    /* Sends and receives what there is. Call it in every loop(). */
    void poll();

    /* Whether it is time to measure again: at once, and then every `milliseconds`, or as often as
     * the gateway asks for. One schedule for each link. */
    bool every(uint32_t milliseconds);

    /* Ends a reading: everything that was put since the last. False: nothing was, or there is no
     * room for it in a frame or in the memory. */
    bool send() { return sg_end(&link_); }

    /* A line for the device's log, cut off after some 60 characters. False: no room right now. */
    bool log(const char *text) { return sg_log(&link_, text); }
    bool log(const __FlashStringHelper *text);

    /* Whether the gateway acknowledges what is sent. */
    bool connected() const { return sg_is_connected(&link_); }
    /* Readings that are held, and how many had to give way since boot. */
    uint16_t held() const { return sg_held(&link_); }
    uint32_t dropped() const { return sg_dropped(&link_); }

    /* For the commands SERIALGATE_OWN to 255. */
    void onCommand(SerialgateCommand command) { command_ = command; }

    /* Names the board by 1 to 16 bytes of yours, which must stay, instead of the chip's number. Before begin(). */
    void setUid(const uint8_t *uid, uint8_t size);
    /* The number of this boot: one that no boot before had. Before begin(). */
    void setBoot(uint32_t boot);
    /* The pin that switches an RS-485 driver on. Then, and only then, poll() waits while it sends. */
    void setDriver(uint8_t pin);

  protected:
    SerialgateLink(Stream &stream, const char *firmware, uint8_t *ring, uint16_t size);

  private:
    friend class SerialgateChannel;
    friend class SerialgateStorage;

    static size_t write(void *context, const uint8_t *bytes, size_t size);
    static uint32_t uptime(void *context);
    static bool set(void *context, const sg_item *item);
    static uint8_t command(void *context, sg_link *link, uint8_t number, const uint8_t *arguments, uint8_t size);
    static void load(void *context, uint16_t at, void *to, uint8_t size);
    static void store(void *context, uint16_t at, const void *from, uint8_t size);

    void prepare();
    void restoreChannels(sg_channel *channels);
    size_t transmit(const uint8_t *bytes, size_t size);

    static const uint8_t NO_DRIVER = 255;

    sg_link link_;
    sg_config config_;
    Stream &stream_;
    uint8_t *ring_;
    uint16_t size_;
    uint16_t capacity_; /* the most that the stream ever took without waiting; 0: it does not say */
    SerialgateCommand command_;
    SerialgateStorage *storage_;
    uint32_t boot_;
    uint32_t interval_; /* as the gateway wants it; 0: as the sketch says */
    uint32_t last_;     /* when every() was last true */
    uint8_t uid_[12];
    uint8_t driver_;
    bool booted_;  /* boot_ is set */
    bool started_; /* last_ is set */
};

template <typename T> bool SerialgateChannel::send(T value) {
    put(value);
    return link_.send();
}

/* The link, with RING bytes for readings. */
template <uint16_t RING = SERIALGATE_RING> class Serialgate : public SerialgateLink {
  public:
    /* `stream`: Serial, Serial1, a SoftwareSerial ... `firmware`: its name, a space, its version. */
    Serialgate(Stream &stream, const char *firmware) : SerialgateLink(stream, firmware, memory_, RING) {}

  private:
    uint8_t memory_[RING > 0 ? RING : 1];
};

#include "SerialgateStorage.h"

#endif
