// Streams into the card: see stream_base.py and streams.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "failure.h"
#include "pins.h"
#include "sinks.h"
#include "tlp.h"

constexpr uint8_t UNUSED = 0xa5;    // in bytes that nothing may depend on

// Drives what `next` yields, a beat whenever the last one was taken.
template <class Item> class Source {
public:
    bool idle() const { return !driving_ && !waits(); }

    void clear() {
        at_ = end_ = 0;
        driving_ = false;
        valid_.put(0u);
    }

    void apply() {
        valid_.apply();
        data_.apply();
        keep_.apply();
        last_.apply();
        apply_more();
    }

    // `next(item)` gives the next item, if there is one; `sent(item)` is told when its last beat has passed.
    template <class Next, class Sent> void tick(int64_t cycle, Next next, Sent sent) {
        if (driving_) {
            if (!ready_.level()) {
                refused(cycle);
                return;
            }
            if (!waits()) sent(item_);
        }
        if (!waits() && next(item_)) {
            at_ = 0;
            end_ = std::max<size_t>(1, (bytes_of(item_).size() + step_ - 1) / step_);
        }
        bool drive = waits();
        if (drive) put();
        if (drive != driving_) valid_.put(driving_ = drive);
    }

protected:
    void open_pins(const std::string &top, const std::string &name, const std::string &letter) {
        name_ = name;
        valid_.open(top, name + "_" + letter + "valid");
        ready_.open(top, name + "_" + letter + "ready");
        data_.open(top, name + "_" + letter + "data");
        keep_.open(top, name + "_" + letter + "keep");
        last_.open(top, name + "_" + letter + "last");
        step_ = 4 * data_.words();
    }

    virtual const std::vector<uint8_t> &bytes_of(const Item &item) const = 0;
    virtual void put_more(const Item &item, bool first, bool last) = 0;
    virtual void apply_more() = 0;
    virtual void refused(int64_t) {}
    virtual int lane_bytes() const = 0;

    bool waits() const { return at_ < end_; }

    void put() {
        const std::vector<uint8_t> &bytes = bytes_of(item_);
        size_t from = at_ * step_, count = std::min(step_, bytes.size() - std::min(bytes.size(), from));
        uint8_t data[4 * MOST_WORDS];
        if (count) memcpy(data, bytes.data() + from, count);
        memset(data + count, UNUSED, step_ - count);
        uint32_t words[MOST_WORDS];
        memcpy(words, data, step_);
        data_.put(words);
        int lanes = count / lane_bytes();
        uint64_t keep = lanes == 64 ? ~0ull : (1ull << lanes) - 1;
        uint32_t keeps[2] = {uint32_t(keep), uint32_t(keep >> 32)};
        keep_.put(keeps);
        bool first = at_ == 0, last = ++at_ == end_;
        last_.put(last);
        put_more(item_, first, last);
    }

    std::string name_;
    Input valid_, data_, keep_, last_;
    Pin ready_;
    Item item_;
    size_t at_ = 0, end_ = 0, step_ = 0;    // beats of the item that are driven, and in all
    bool driving_ = false;
};

class TlpSource : public Source<Tlp> {
public:
    void open_at(const std::string &top, const std::string &name) {
        open_pins(top, name, "");
        first_.open(top, name + "_first");
        header_.open(top, name + "_header");
    }

private:
    const std::vector<uint8_t> &bytes_of(const Tlp &tlp) const override { return tlp.payload; }
    void put_more(const Tlp &tlp, bool first, bool) override {
        first_.put(first);
        if (first) header_.put(tlp.header);
    }
    void apply_more() override {
        first_.apply();
        header_.apply();
    }
    int lane_bytes() const override { return 4; }

    Input first_, header_;
};

class FrameSource : public Source<Frame> {
public:
    void open_at(const std::string &top, const std::string &name) {
        open_pins(top, name, "t");
        user_.open(top, name + "_tuser");
    }

private:
    const std::vector<uint8_t> &bytes_of(const Frame &frame) const override { return frame.data; }
    void put_more(const Frame &frame, bool, bool last) override { user_.put(frame.bad && last); }
    void apply_more() override { user_.apply(); }
    void refused(int64_t cycle) override {
        throw failure(Fault::stream, "%s at cycle %lld: tready is 0", name_.c_str(), (long long)cycle);
    }
    int lane_bytes() const override { return 1; }

    Input user_;
};
