// The MAC and the wire behind it: see mac.py.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>

#include "sinks.h"
#include "sources.h"

class Mac {
public:
    double bytes_per_cycle = INFINITY;
    int64_t frames_sent = 0;
    FrameSink sink;
    FrameSource source;
    std::function<void(const Frame &)> captured;

    void send(const uint8_t *data, int length, bool bad) {
        waiting_.emplace_back();
        waiting_.back().data.assign(data, data + length);
        waiting_.back().bad = bad;
    }

    bool idle() const { return waiting_.empty() && source.idle(); }

    void clear() {
        waiting_.clear();
        sink.clear();
        source.clear();
    }

    void sample(int64_t cycle) {
        if (const Frame *frame = sink.tick(cycle)) {
            tx_free_ = std::max<double>(tx_free_, frame->first) + wire_cycles(*frame);
            captured(*frame);
        }
    }

    void think(int64_t cycle) {
        sink.open = tx_free_ > cycle ? (tx_free_ - cycle) * bytes_per_cycle < TX_BUFFER : true;
    }

    void drive(int64_t cycle) {
        sink.drive();
        source.tick(cycle, [&](Frame &frame) { return next(cycle, frame); }, [&](const Frame &) { frames_sent++; });
    }

private:
    static constexpr int OVERHEAD = 4 + 8 + 12, SHORTEST = 60, TX_BUFFER = 2048;

    double wire_cycles(const Frame &frame) const {
        return (std::max<int>(SHORTEST, frame.data.size()) + OVERHEAD) / bytes_per_cycle;
    }

    bool next(int64_t cycle, Frame &frame) {
        if (waiting_.empty() || rx_free_ > cycle + 1) return false;
        frame = std::move(waiting_.front());
        waiting_.pop_front();
        double late = cycle + 1 - rx_free_;     // less than a cycle late is on time: the wire does not know cycles
        rx_free_ = (late < 1 ? rx_free_ : cycle + 1) + wire_cycles(frame);
        return true;
    }

    std::deque<Frame> waiting_;
    double rx_free_ = 0, tx_free_ = 0;
};
