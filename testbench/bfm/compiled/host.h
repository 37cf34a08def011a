// The root complex and the link before it: host_core.py, host_reads.py and host_rules.py once more, step by step.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>

#include "draws.h"
#include "failure.h"
#include "memory.h"
#include "pacing.h"
#include "statistics.h"
#include "tlp.h"

struct Rules {
    int32_t mps = 128, mrrs = 512, extended_tags = 0, bus_master = 0, requester = -1;

    const char *complaint(const Tlp &tlp, Kind kind, bool strict, bool outstanding) const;
};

struct Read {
    Tlp request;
    int label, length, first, end;
    uint64_t address;
    std::vector<uint8_t> data;
};

class Host {
public:
    Memory memory;
    Statistics statistics;
    Rules rules;
    Latency latency;
    Random moments;
    double cycle_ns = 4;
    bool rcb64 = false, np_hold = false;
    uint32_t strict = 0;        // labels, as bits, where nothing may be overtaken
    Pace up_pace, down_pace;
    Meter up_meter{"upstream"}, down_meter{"downstream"};
    // What Python hears of: completions and messages of the device, and writes to watched memory.
    std::function<void(double arrival, const Tlp &)> arrived;
    std::function<void(uint64_t address, const uint8_t *data, int length)> written;

    // Upstream
    void rq(int64_t cycle, const Tlp &tlp);
    void cc(int64_t cycle, const Tlp &tlp);
    bool rq_ready(int64_t cycle);
    bool rq_np_ready(int64_t cycle);
    // Downstream
    void post(double ready, Tlp tlp) { requests_.push_back({ready, std::move(tlp)}); }
    bool take_cq(Tlp &tlp);
    bool take_rc(Tlp &tlp);
    void sent(int64_t cycle, const Tlp &tlp) { down_meter.pass(cycle, tlp.link_bytes()); }
    // Time
    void advance(int64_t now);
    void reset(int64_t cycle);
    bool idle() const {
        return arrivals_.empty() && !outstanding_ && completions_.empty() && requests_.empty() && cq_out_.empty()
               && rc_out_.empty();
    }
    int outstanding() const { return outstanding_; }
    int waiting() const { return requests_.size(); }

private:
    using ReadPointer = std::shared_ptr<Read>;
    struct Arrival { double arrival, start; Tlp tlp; };
    struct Request { double ready; Tlp tlp; };
    struct Part {               // of a read: bytes [at, end), due at `when`
        double when;
        uint64_t sequence;
        ReadPointer read;
        int at, end;
        bool operator<(const Part &other) const {       // for a queue whose top is the earliest
            return when != other.when ? when > other.when : sequence > other.sequence;
        }
    };

    double carry(int64_t cycle, const Tlp &tlp);
    void arrive(Arrival arrival);
    void serve(double arrival, double start, ReadPointer read);
    void sample();
    void send_downstream(int64_t now);
    void count_request(const Tlp &tlp);
    void release(int64_t now, const Part &part);
    double next_sample() const { return samples_.empty() ? INFINITY : samples_.top().when; }

    std::deque<Arrival> arrivals_;
    std::deque<double> queued_, queued_np_;
    bool np_was_ready_ = true;
    int np_late_ = 0;
    double last_write_ = -INFINITY;
    ReadPointer reads_[256];
    int outstanding_ = 0;
    uint64_t sequence_ = 0;
    std::priority_queue<Part> samples_, completions_;
    std::deque<Request> requests_;
    std::deque<Tlp> cq_out_, rc_out_;
    int rc_out_bytes_ = 0;
    double cq_blocked_ = 0, rc_blocked_ = 0;
};
