// What stands around the card, compiled: its clock, the host and the MAC at its ports. See __init__.py, which is the
// other half, and loop.py for the order of things at a clock edge.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>

#include "failure.h"
#include "host.h"
#include "mac.h"
#include "pins.h"
#include "sinks.h"
#include "sources.h"
#include "taps.h"

enum Event { FRAME, ARRIVED, WRITTEN, FAILED, RUN };
using Hear = int (*)(int event, int64_t number, double time, const void *data, int length);

struct Settings {       // as in __init__.py
    double cycle_ns, spec, hard, slack;
    Profile profile;
    uint32_t latencies[625], moments[625];
    Arena high, low;
    int64_t half_period;
    int32_t rcb64, unused;
};

class Card {
public:
    Host host;
    Mac mac;
    TlpSink rq, cc;
    TlpSource cq, rc;
    Taps taps;
    bool held = true;
    int64_t cycle = 0;

    Card(const std::string &top, const Settings &settings, Hear hear, uint64_t generation)
        : hear_(hear), half_period_(settings.half_period), generation_(generation) {
        host.cycle_ns = settings.cycle_ns;
        host.rcb64 = settings.rcb64;
        host.up_pace.bytes_per_cycle = host.down_pace.bytes_per_cycle = settings.spec;
        for (Meter *meter : {&host.up_meter, &host.down_meter}) {
            meter->bytes_per_cycle = settings.hard;
            meter->slack = settings.slack;
        }
        host.latency.profile = settings.profile;
        seed(settings);
        host.memory = {settings.high, settings.low};
        host.arrived = [this](double arrival, const Tlp &tlp) {
            std::string bytes((const char *)tlp.header, sizeof tlp.header);
            bytes.append(tlp.payload.begin(), tlp.payload.end());
            tell(ARRIVED, 0, arrival, bytes.data(), bytes.size());
        };
        host.written = [this](uint64_t address, const uint8_t *data, int length) {
            tell(WRITTEN, address, 0, data, length);
        };
        mac.captured = [this](const Frame &frame) {
            tell(FRAME, frame.first, frame.last, frame.data.data(), frame.data.size());
        };
        clock_.open(top, "clk");
        rq.open_at(top, "rq");
        cc.open_at(top, "cc");
        cq.open_at(top, "cq");
        rc.open_at(top, "rc");
        np_ready_.open(top, "rq_np_ready");
        mac.sink.open_at(top, "eth_tx");
        mac.source.open_at(top, "eth_rx");
    }

    void seed(const Settings &settings) {
        host.latency.random.set(settings.latencies);
        host.moments.set(settings.moments);
    }

    void start() {
        cycle = -1;
        clock_.write(0u);
        wait();
    }

    void stop() { stopped_ = true; }

    static std::unique_ptr<Card> current;

private:
    void wait() {
        s_vpi_time time;
        time.type = vpiSimTime;
        time.high = half_period_ >> 32;
        time.low = half_period_;
        s_cb_data callback = {};
        callback.reason = cbAfterDelay;
        callback.cb_rtn = half;
        callback.time = &time;
        callback.user_data = (PLI_BYTE8 *)(uintptr_t)generation_;
        vpi_free_object(vpi_register_cb(&callback));
    }

    static PLI_INT32 half(s_cb_data *data) {
        if (current && current->generation_ == (uintptr_t)data->user_data && !current->stopped_) current->half_period();
        return 0;
    }

    void half_period() {
        wait();
        high_ = !high_;
        if (!high_) {
            for (Sink *sink : std::initializer_list<Sink *>{&rq, &cc, &mac.sink}) sink->apply();
            cq.apply();
            rc.apply();
            mac.source.apply();
            np_ready_.apply();
            clock_.write(0u);
            return;
        }
        cycle++;
        taps.sample(cycle);
        news_ = false;
        if (!held) {
            try {
                tick();
            } catch (const Failure &failure) {
                held = true;
                uint64_t where[2] = {failure.address, uint64_t(failure.length)};
                bool text = !failure.what.empty();
                tell(FAILED, int(failure.fault), cycle, text ? (const void *)failure.what.data() : where,
                     text ? failure.what.size() : sizeof where);
            }
        }
        // What waits for the edge may not find it before it; so tasks run after it.
        clock_.write(1u);
        if (news_) hear_(RUN, 0, 0, nullptr, 0);
    }

    void tick() {
        if (const Tlp *tlp = rq.tick(cycle)) host.rq(cycle, *tlp);
        if (const Tlp *tlp = cc.tick(cycle)) host.cc(cycle, *tlp);
        mac.sample(cycle);
        if (held) return;       // somebody who was told found fault with it
        host.advance(cycle);
        rq.open = cc.open = host.rq_ready(cycle);
        np_ready_.put(host.rq_np_ready(cycle));
        mac.think(cycle);
        rq.drive();
        cc.drive();
        auto sent = [this](const Tlp &tlp) { host.sent(cycle, tlp); };
        cq.tick(cycle, [this](Tlp &tlp) { return host.take_cq(tlp); }, sent);
        rc.tick(cycle, [this](Tlp &tlp) { return host.take_rc(tlp); }, sent);
        mac.drive(cycle);
    }

    void tell(Event event, int64_t number, double time, const void *data, int length) {
        news_ |= hear_(event, number, time, data, length) != 0;
    }

    Hear hear_;
    int64_t half_period_;
    uint64_t generation_;
    VpiPin clock_;      // writing it tells the simulator that there is something to do
    Input np_ready_;
    bool high_ = false, news_ = false, stopped_ = false;
};

std::unique_ptr<Card> Card::current;

static Card &card() { return *Card::current; }

// What __init__.py calls.
extern "C" {

// Null, or the name of the port that isn't there.
const char *card_open(const char *top, const Settings *settings, Hear hear) {
    static std::string missing;
    static uint64_t generation = 0;
    try {
        Card::current = nullptr;
        Card::current = std::make_unique<Card>(top, *settings, hear, ++generation);
        return nullptr;
    } catch (const std::string &name) {
        missing = name;
        return missing.c_str();
    }
}

void card_start() { card().start(); }
void card_stop() { card().stop(); }
void card_seed(const Settings *settings) { card().seed(*settings); }
void card_hold(int held) { card().held = held; }

void card_post(double ready, const uint32_t *header, const uint8_t *payload, int length) {
    Tlp tlp;
    memcpy(tlp.header, header, sizeof tlp.header);
    tlp.payload.assign(payload, payload + length);
    card().host.post(ready, std::move(tlp));
}

void card_send(const uint8_t *data, int length, int bad) { card().mac.send(data, length, bad); }
void card_rate(double bytes_per_cycle) { card().mac.bytes_per_cycle = bytes_per_cycle; }
void card_hold_reads(int held) { card().host.np_hold = held; }
void card_rules(const Rules *rules) { card().host.rules = *rules; }

void card_pause(int rq, int cc, int eth_tx) {
    card().rq.paused = rq;
    card().cc.paused = cc;
    card().mac.sink.paused = eth_tx;
}

void card_labels(const Range *ranges, int count, uint32_t strict) {
    card().host.statistics.ranges.assign(ranges, ranges + count);
    card().host.strict = strict;
}

Counters *card_counters() { return &card().host.statistics.counters; }
void card_restart(int64_t cycle) { card().host.statistics.restart(cycle); }

// As `card_open`. `names` are the ports of the taps' fields.
const char *card_taps(const char *top, const char **names, int count) {
    static std::string missing;
    try {
        card().taps.open(top, {names, names + count});
        return nullptr;
    } catch (const std::string &name) {
        missing = name;
        return missing.c_str();
    }
}

int64_t card_tap_count() { return card().taps.events.size(); }
const TapEvent *card_tap_events() { return card().taps.events.data(); }

int64_t card_trip_count() { return card().host.statistics.trips.size(); }
const Trip *card_trips() { return card().host.statistics.trips.data(); }

void card_clear_host() {
    Card &c = card();
    c.host.reset(c.cycle);
    c.rq.clear();
    c.cc.clear();
    c.cq.clear();
    c.rc.clear();
}

void card_clear_mac() { card().mac.clear(); }

int64_t card_cycle() { return card().cycle; }
int card_outstanding() { return card().host.outstanding(); }
int card_waiting() { return card().host.waiting(); }
int64_t card_frames_sent() { return card().mac.frames_sent; }

// Bits: host, cq, rc and MAC have nothing to do; nothing has begun on rq.
int card_idle() {
    Card &c = card();
    return c.host.idle() | c.cq.idle() << 1 | c.rc.idle() << 2 | c.mac.idle() << 3 | !c.rq.busy() << 4;
}

}
