// Streams that leave the card: see stream_base.py and streams.py, whose checks are made here.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "failure.h"
#include "pins.h"
#include "tlp.h"

struct Beat {
    uint32_t first = 0, last = 0, header[4] = {};
    uint64_t keep = 0;
    uint32_t data[MOST_WORDS] = {};

    bool operator==(const Beat &other) const {
        return first == other.first && last == other.last && keep == other.keep
               && !memcmp(header, other.header, sizeof header) && !memcmp(data, other.data, sizeof data);
    }
};

// The handshake: takes a beat when there is one, and drives `ready`.
class Sink {
public:
    bool open = true, paused = false;

    bool was_valid() const { return was_valid_; }

    void drive() {
        driven_ = open && !paused;
        ready_.put(driven_);
    }

    void apply() { ready_.apply(); }

    void clear() {
        offered_ = was_valid_ = driven_ = false;
        ready_.put(0u);
    }

protected:
    void open_pins(const std::string &top, const std::string &name, const std::string &letter) {
        name_ = name;
        valid_.open(top, name + "_" + letter + "valid");
        ready_.open(top, name + "_" + letter + "ready");
        data_.open(top, name + "_" + letter + "data");
        keep_.open(top, name + "_" + letter + "keep");
        last_.open(top, name + "_" + letter + "last");
    }

    virtual void sample(Beat &beat, int64_t cycle) = 0;
    virtual void gap(int64_t) {}

    // Whether `beat` was transferred at this edge.
    bool transferred(int64_t cycle, Beat &beat) {
        uint32_t valid = 0;
        bool known = valid_.read(&valid);
        if (!known || !valid) {
            if (was_valid_) {
                was_valid_ = false;
                demand(!offered_, cycle, "valid dropped before a transfer");
                demand(known, cycle, "valid is neither 0 nor 1");
            }
            gap(cycle);
            return false;
        }
        was_valid_ = true;
        if (!driven_ && offered_) return false;
        sample(beat, cycle);
        if (offered_) demand(beat == offer_, cycle, "payload changed before a transfer");
        offered_ = !driven_;
        if (offered_) offer_ = beat;
        return driven_;
    }

    void read(const Pin &pin, uint32_t *value, int64_t cycle) {
        demand(pin.read(value), cycle, "unknown bits");
    }

    void demand(bool condition, int64_t cycle, const char *what) {
        if (!condition) throw failure(Fault::stream, "%s at cycle %lld: %s", name_.c_str(), (long long)cycle, what);
    }

    std::string name_;
    Pin valid_, data_, keep_, last_;
    Input ready_;
    bool was_valid_ = false, offered_ = false, driven_ = false;
    Beat offer_;
};

class TlpSink : public Sink {
public:
    void open_at(const std::string &top, const std::string &name) {
        open_pins(top, name, "");
        first_.open(top, name + "_first");
        header_.open(top, name + "_header");
        full_ = (1ull << data_.words()) - 1;
    }

    bool busy() const { return was_valid() || inside_; }

    void clear() {
        Sink::clear();
        inside_ = false;
    }

    // The TLP that ends at this edge, or null.
    const Tlp *tick(int64_t cycle) {
        Beat beat;
        if (!transferred(cycle, beat)) return nullptr;
        demand(beat.first == !inside_, cycle, inside_ ? "first is 1 in the middle" : "first is 0 in the first beat");
        demand(!(beat.keep & (beat.keep + 1)), cycle, "keep is not contiguous from bit 0");
        demand(beat.last || beat.keep == full_, cycle, "keep is partial before the last beat");
        if (beat.first) {
            memcpy(tlp_.header, beat.header, sizeof beat.header);
            tlp_.payload.clear();
        } else {
            demand(beat.keep, cycle, "a beat without payload inside a TLP");
        }
        const uint8_t *data = (const uint8_t *)beat.data;
        tlp_.payload.insert(tlp_.payload.end(), data, data + 4 * __builtin_popcountll(beat.keep));
        inside_ = !beat.last;
        if (inside_) return nullptr;
        demand(int(tlp_.payload.size()) == (tlp_.with_data() ? tlp_.length() : 0), cycle,
               "payload is not as long as the header says");
        demand(tlp_.four_dw() || !tlp_.header[3], cycle, "DW3 is not 0 behind a 3-DW header");
        return &tlp_;
    }

private:
    void sample(Beat &beat, int64_t cycle) override {
        uint32_t keep = 0;
        read(first_, &beat.first, cycle);
        read(last_, &beat.last, cycle);
        read(keep_, &keep, cycle);
        beat.keep = keep;
        if (beat.first) read(header_, beat.header, cycle);
        if (keep) read(data_, beat.data, cycle);
    }

    Pin first_, header_;
    uint64_t full_ = 0;
    bool inside_ = false;
    Tlp tlp_;
};

struct Frame {
    std::vector<uint8_t> data;
    bool bad = false;
    int64_t first = 0, last = 0;
};

class FrameSink : public Sink {
public:
    void open_at(const std::string &top, const std::string &name) {
        open_pins(top, name, "t");
        bytes_ = 4 * data_.words();
        full_ = bytes_ == 64 ? ~0ull : (1ull << bytes_) - 1;
    }

    void clear() {
        Sink::clear();
        inside_ = false;
    }

    // The frame that ends at this edge, or null.
    const Frame *tick(int64_t cycle) {
        Beat beat;
        if (!transferred(cycle, beat)) return nullptr;
        demand(beat.keep && !(beat.keep & (beat.keep + 1)), cycle, "tkeep is not contiguous from bit 0");
        demand(beat.last || beat.keep == full_, cycle, "tkeep is partial before the last beat");
        if (!inside_) {
            frame_.first = cycle;
            frame_.data.clear();
        }
        const uint8_t *data = (const uint8_t *)beat.data;
        frame_.data.insert(frame_.data.end(), data, data + __builtin_popcountll(beat.keep));
        frame_.last = cycle;
        inside_ = !beat.last;
        return inside_ ? nullptr : &frame_;
    }

private:
    void sample(Beat &beat, int64_t cycle) override {
        uint32_t keep[2] = {};
        read(last_, &beat.last, cycle);
        read(keep_, keep, cycle);
        read(data_, beat.data, cycle);
        beat.keep = uint64_t(keep[1]) << 32 | keep[0];
    }

    void gap(int64_t cycle) override { demand(!inside_, cycle, "tvalid fell inside a frame"); }

    int bytes_ = 0;
    uint64_t full_ = 0;
    bool inside_ = false;
    Frame frame_;
};
