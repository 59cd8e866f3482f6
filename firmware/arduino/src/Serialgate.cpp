#include "Serialgate.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "SerialgateChip.h"

long SerialgateValue::number(uint8_t decimals) const {
    int32_t value = 0;
    return sg_item_int(&item_, static_cast<int8_t>(-static_cast<int8_t>(decimals)), &value) ? value : 0;
}

float SerialgateValue::real() const {
    if (item_.format >> 4 == SG_F32 && item_.size == sizeof(float)) {
        float value;
        memcpy(&value, item_.bytes, sizeof value);
        return value;
    }
    if (item_.format >> 4 == SG_BOOL) {
        return number();
    }
    /* The number without its exponent, and then the exponent. */
    sg_item digits = item_;
    digits.format &= 0xF0;
    int32_t value;
    if (!sg_item_int(&digits, 0, &value)) {
        return NAN;
    }
    float real = value;
    for (int8_t power = static_cast<int8_t>(item_.format << 4) >> 4; power != 0; power += power < 0 ? 1 : -1) {
        real = power < 0 ? real / 10 : real * 10;
    }
    return real;
}

void SerialgateValue::text(char *to, size_t size) const {
    if (size == 0) {
        return;
    }
    const size_t most = size - 1;
    const size_t part = item_.format >> 4 != SG_TEXT ? 0 : item_.size < most ? item_.size : most;
    memcpy(to, item_.bytes, part);
    to[part] = 0;
}

uint32_t SerialgateCall::number(uint8_t index) const {
    uint32_t number = 0;
    for (uint8_t i = 4; i-- > 0;) {
        number = number << 8 | byteAt(index + i);
    }
    return number;
}

SerialgateChannel::SerialgateChannel(SerialgateLink &link, const char *name_, const char *unit_, uint8_t decimals,
                                     SerialgateKind kind)
    : sg_channel(), link_(link), setter_(NULL) {
    name = name_;
    unit = unit_;
    format = SG_FORMAT(SG_I16, -static_cast<int8_t>(decimals < 8 ? decimals : 8));
    class_ = kind;
    sg_add_channel(&link.link_, this);
}

void SerialgateChannel::onSet(SerialgateSetter setter) {
    setter_ = setter;
    class_ = setter != NULL ? class_ | SG_WRITABLE : class_ & ~SG_WRITABLE;
}

/* In the smaller of two types: 327.67 and less takes two bytes. */
void SerialgateChannel::putScaled(int32_t steps) {
    sg_channel as = *this;
    if (steps < INT16_MIN || steps > INT16_MAX) {
        as.format = SG_FORMAT(SG_I32, as.format);
    }
    sg_int(&link_.link_, &as, steps);
}

void SerialgateChannel::put(double value) {
    for (uint8_t i = decimals(); i > 0; i--) {
        value *= 10;
    }
    if (isnan(value)) {
        putNothing();
    } else if (value > -2147483520.0 && value < 2147483520.0) {
        putScaled(static_cast<int32_t>(value < 0 ? value - 0.5 : value + 0.5));
    } else {
        putNothing(SG_RANGE);
    }
}

void SerialgateChannel::put(long value) {
    int32_t steps = static_cast<int32_t>(value);
    bool fits = steps == value;
    for (uint8_t i = decimals(); i > 0 && fits; i--) {
        fits = steps <= INT32_MAX / 10 && steps >= INT32_MIN / 10;
        steps = fits ? steps * 10 : 0;
    }
    if (fits) {
        putScaled(steps);
    } else {
        putNothing(SG_RANGE);
    }
}

void SerialgateChannel::put(unsigned long value) {
    if (value <= INT32_MAX) {
        put(static_cast<long>(value));
    } else if (decimals() == 0 && value <= UINT32_MAX) {
        sg_channel as = *this;
        as.format = SG_FORMAT(SG_U32, 0);
        const uint8_t bytes[4] = {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8),
                                  static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 24)};
        sg_raw(&link_.link_, &as, bytes, sizeof bytes);
    } else {
        putNothing(SG_RANGE);
    }
}

void SerialgateChannel::put(bool value) { sg_bool(&link_.link_, this, value); }

void SerialgateChannel::put(const char *text) {
    const size_t size = strlen(text);
    sg_channel as = *this;
    as.format = SG_FORMAT(SG_TEXT, 0);
    sg_raw(&link_.link_, &as, text, static_cast<uint8_t>(size < 255 ? size : 255));
}

void SerialgateChannel::putNothing(uint8_t reason) { sg_none(&link_.link_, this, reason); }

SerialgateStorage::SerialgateStorage(uint16_t size) {
    storage_.load = SerialgateLink::load;
    storage_.store = SerialgateLink::store;
    storage_.size = size;
}

SerialgateLink::SerialgateLink(Stream &stream, const char *firmware, uint8_t *ring, uint16_t size)
    : link_(), config_(), stream_(stream), ring_(ring), size_(size), capacity_(0), command_(NULL), storage_(NULL),
      boot_(0), interval_(0), last_(0), driver_(NO_DRIVER), booted_(false), started_(false) {
    config_.context = this;
    config_.write = write;
    config_.millis = uptime;
    config_.set = set;
    config_.command = command;
    config_.firmware = firmware;
}

void SerialgateLink::setUid(const uint8_t *uid, uint8_t size) {
    config_.uid = uid;
    config_.uid_size = size < 16 ? size : 16;
}

void SerialgateLink::setBoot(uint32_t boot) {
    boot_ = boot;
    booted_ = true;
}

void SerialgateLink::setDriver(uint8_t pin) {
    driver_ = pin;
    pinMode(pin, OUTPUT);
    digitalWrite(pin, LOW);
}

void SerialgateLink::prepare() {
    if (!booted_) {
        setBoot(serialgateBootNumber());
    }
    if (config_.uid_size == 0) {
        config_.uid = uid_;
        config_.uid_size = serialgateChipId(uid_, sizeof uid_);
    }
}

/* They were added before the link began. */
void SerialgateLink::restoreChannels(sg_channel *channels) {
    while (channels != NULL) {
        sg_channel *next = channels->next;
        sg_add_channel(&link_, channels);
        channels = next;
    }
}

void SerialgateLink::begin() {
    prepare();
    sg_channel *channels = link_.channels;
    sg_begin(&link_, &config_, boot_, ring_, size_);
    restoreChannels(channels);
}

void SerialgateLink::begin(SerialgateStorage &storage) {
    prepare();
    storage_ = &storage;
    sg_channel *channels = link_.channels;
    sg_begin_stored(&link_, &config_, boot_, &storage.storage_);
    restoreChannels(channels);
}

void SerialgateLink::poll() {
    while (stream_.available() > 0) {
        sg_receive(&link_, static_cast<uint8_t>(stream_.read()));
    }
    sg_poll(&link_);
}

bool SerialgateLink::every(uint32_t milliseconds) {
    const uint32_t interval = interval_ != 0 ? interval_ : milliseconds;
    const uint32_t now = millis();
    if (started_ && now - last_ < interval) {
        return false;
    }
    /* No drift; but what was missed by more than a turn is not made up for. */
    last_ = started_ && now - last_ < 2 * interval ? last_ + interval : now;
    started_ = true;
    return true;
}

bool SerialgateLink::log(const __FlashStringHelper *text) {
    char line[SG_TX_SIZE];
    strncpy_P(line, reinterpret_cast<PGM_P>(text), sizeof line - 1);
    line[sizeof line - 1] = 0;
    return log(line);
}

/*
 * What can be written without waiting. Frames go out whole wherever that is possible, so that what the
 * sketch prints in between damages none.
 */
size_t SerialgateLink::transmit(const uint8_t *bytes, size_t size) {
    const int available = stream_.availableForWrite();
    const uint16_t room = available > 0 ? static_cast<uint16_t>(available) : 0;
    if (room > capacity_) {
        capacity_ = room;
    }
    if (capacity_ == 0 || size <= room) {
        return stream_.write(bytes, size); /* SoftwareSerial does not say how much, and waits */
    }
    size_t whole = 0;
    for (size_t i = 1; i < size && i < room; i++) {
        if (bytes[i] == 0) {
            whole = ++i; /* the next zero begins the next frame */
        }
    }
    if (whole > 0) {
        return stream_.write(bytes, whole);
    }
    /* Longer than all that the stream ever takes. */
    return room == capacity_ ? stream_.write(bytes, room) : 0;
}

size_t SerialgateLink::write(void *context, const uint8_t *bytes, size_t size) {
    SerialgateLink &link = *static_cast<SerialgateLink *>(context);
    if (link.driver_ == NO_DRIVER) {
        return link.transmit(bytes, size);
    }
    digitalWrite(link.driver_, HIGH);
    const size_t written = link.stream_.write(bytes, size);
    link.stream_.flush();
    digitalWrite(link.driver_, LOW);
    return written;
}

uint32_t SerialgateLink::uptime(void *) { return millis(); }

bool SerialgateLink::set(void *context, const sg_item *item) {
    SerialgateLink &link = *static_cast<SerialgateLink *>(context);
    for (sg_channel *at = link.link_.channels; at != NULL; at = at->next) {
        if (at->number == item->channel) {
            SerialgateChannel &channel = *static_cast<SerialgateChannel *>(at);
            return channel.setter_(SerialgateValue(*item));
        }
    }
    return false;
}

uint8_t SerialgateLink::command(void *context, sg_link *core, uint8_t number, const uint8_t *arguments, uint8_t size) {
    SerialgateLink &link = *static_cast<SerialgateLink *>(context);
    SerialgateCall call(*core, number, arguments, size);
    if (number == SG_INTERVAL) {
        if (size < 4 || call.number() == 0) {
            return SERIALGATE_REFUSED;
        }
        link.interval_ = call.number();
        return SERIALGATE_OK;
    }
    if (number == SG_REBOOT) {
        serialgateReboot();
        return SERIALGATE_OK;
    }
    return number >= SERIALGATE_OWN && link.command_ != NULL ? link.command_(call) : SERIALGATE_UNKNOWN;
}

void SerialgateLink::load(void *context, uint16_t at, void *to, uint8_t size) {
    static_cast<SerialgateLink *>(context)->storage_->load(at, static_cast<uint8_t *>(to), size);
}

void SerialgateLink::store(void *context, uint16_t at, const void *from, uint8_t size) {
    static_cast<SerialgateLink *>(context)->storage_->store(at, static_cast<const uint8_t *>(from), size);
}
