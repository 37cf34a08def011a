// See host.h.
#include "host.h"

#include <algorithm>

constexpr int QUEUE_TLPS = 32, QUEUE_BYTES = 4096, QUEUE_NP = 16, NP_GRACE = 4, ROOM_BYTES = 4096, ROOM_CQ = 16;
constexpr int LINE = 64;
constexpr uint8_t JUNK = 0xa5;

static Failure refuse(const char *what, const Tlp &tlp) {
    const uint32_t *h = tlp.header;
    return failure(Fault::protocol, "%s: header %08x %08x %08x %08x, %zu bytes of payload", what, h[0], h[1], h[2], h[3],
                   tlp.payload.size());
}

const char *Rules::complaint(const Tlp &tlp, Kind kind, bool is_strict, bool is_outstanding) const {
    if (tlp.poisoned() || tlp.digest()) return "poisoned, or with digest";
    if (requester >= 0 && tlp.requester() != uint32_t(requester)) return "requester id is not the function's";
    if (kind == Kind::message) {
        switch (tlp.code()) {
        case 0x18: case 0x1b: case 0x20: case 0x24: case 0x30: case 0x31: case 0x33: return nullptr;
        }
        return "a message that an endpoint doesn't send";
    }
    if (kind != Kind::memory_read && kind != Kind::memory_write) return "neither memory request nor message";
    if (!bus_master) return "memory request while Bus Master Enable is 0";
    uint64_t address = tlp.address();
    int length = tlp.length();
    uint32_t first = tlp.first_be(), last = tlp.last_be();
    if (tlp.four_dw() != (address >> 32 != 0)) return "4-DW header below, or 3-DW header for above 4 GiB";
    if (int(address & 0xfff) + length > 4096) return "crosses 4 KiB";
    if (tlp.at()) return "AT is not 0";
    uint32_t from_above = ~first & 0xf;     // 2^n - 1 if the enables reach to the last byte
    if (length > 4 && (!first || from_above & (from_above + 1) || !last || last & (last + 1)))
        return "byte enables with a gap";
    uint32_t run = first ? first >> __builtin_ctz(first) : 0;
    if (length == 4 && (last || run & (run + 1))) return "byte enables of one DW";
    if (kind == Kind::memory_write) {
        if (length > mps) return "longer than Max_Payload_Size";
        return tlp.attributes() & 2 && is_strict ? "Relaxed Ordering where nothing may be overtaken" : nullptr;
    }
    if (length > mrrs) return "longer than Max_Read_Request_Size";
    if (tlp.tag() > 31 && !extended_tags) return "tag above 31 without Extended Tag Enable";
    return is_outstanding ? "tag is outstanding" : nullptr;
}

// Upstream

void Host::rq(int64_t cycle, const Tlp &tlp) {
    Kind kind = tlp.kind();
    bool read = kind == Kind::memory_read, write = kind == Kind::memory_write;
    int label = read || write ? statistics.label_of(tlp.address()) : NONE;
    ReadPointer &slot = reads_[tlp.tag()];
    if (const char *complaint = rules.complaint(tlp, kind, strict >> label & 1, read && slot)) throw refuse(complaint, tlp);
    if (read) {
        np_late_ = np_was_ready_ ? 0 : np_late_ + 1;
        if (np_late_ > NP_GRACE) throw refuse("too many reads while rq_np_ready is 0", tlp);
        slot = std::make_shared<Read>();
        slot->request = tlp;
        slot->label = label;
        slot->length = tlp.length();
        slot->address = tlp.address();
        tlp.enabled(slot->first, slot->end);
        slot->data.assign(slot->length, JUNK);
        outstanding_++;
        statistics.flight(cycle, 1);
        statistics.counters.read_sizes[label][slot->length]++;
    } else if (write) {
        int first, end;
        tlp.enabled(first, end);
        statistics.counters.write_sizes[label][end - first]++;
    }
    statistics.counters.up[read ? UP_READ : write ? UP_WRITE : UP_MESSAGE][label].add(tlp);
    double start = carry(cycle, tlp);
    queued_.push_back(start);
    if (read) queued_np_.push_back(start);
}

void Host::cc(int64_t cycle, const Tlp &tlp) {
    if (tlp.kind() != Kind::completion) throw refuse("not a completion", tlp);
    statistics.counters.up[UP_COMPLETION][NONE].add(tlp);
    carry(cycle, tlp);
}

double Host::carry(int64_t cycle, const Tlp &tlp) {
    int size = tlp.link_bytes();
    up_meter.pass(cycle, size);
    double start = up_pace.begin(cycle, size);
    arrivals_.push_back({up_pace.free, start, tlp});
    return start;
}

bool Host::rq_ready(int64_t cycle) {
    while (!queued_.empty() && queued_.front() <= cycle) queued_.pop_front();
    return queued_.size() < QUEUE_TLPS && (up_pace.free - cycle) * up_pace.bytes_per_cycle < QUEUE_BYTES;
}

bool Host::rq_np_ready(int64_t cycle) {
    while (!queued_np_.empty() && queued_np_.front() <= cycle) queued_np_.pop_front();
    return np_was_ready_ = queued_np_.size() < QUEUE_NP && !np_hold;
}

void Host::arrive(Arrival arrival) {
    const Tlp &tlp = arrival.tlp;
    Kind kind = tlp.kind();
    if (kind == Kind::memory_write) {
        int first, end;
        tlp.enabled(first, end);
        last_write_ = arrival.arrival;
        const uint8_t *data = tlp.payload.data() + first;
        if (memory.write(tlp.address() + first, data, end - first)) written(tlp.address() + first, data, end - first);
    } else if (kind == Kind::memory_read) {
        serve(arrival.arrival, arrival.start, reads_[tlp.tag()]);
    } else {
        arrived(arrival.arrival, tlp);
    }
}

// Reads of the device

void Host::serve(double arrival, double start, ReadPointer read) {
    double ns = latency.round_trip((start - last_write_) * cycle_ns), trip = ns / cycle_ns;
    statistics.trips.push_back({statistics.label_of(read->address), ns});
    double ready = std::max(start + trip, arrival + 1);
    double per_byte = latency.profile.per_byte / cycle_ns;
    int boundary = rcb64 ? LINE : rules.mps;
    for (int at = 0, stop; at < read->length; at = stop) {
        stop = std::min<int>(read->length, at + boundary - (read->address + at) % boundary);
        double when = ready + std::max(0, stop - LINE) * per_byte;
        int line = std::max(at, read->first), end = std::min(stop, read->end);
        while (line < end) {
            int line_end = std::min<int>(end, line + LINE - (read->address + line) % LINE);
            double moment = arrival + moments.draw() * (when - 1 - arrival);
            samples_.push({moment, sequence_++, read, line, line_end});
            line = line_end;
        }
        completions_.push({when, sequence_++, read, at, stop});
    }
}

void Host::sample() {
    Part part = samples_.top();
    samples_.pop();
    memory.read(part.read->address + part.at, part.read->data.data() + part.at, part.end - part.at);
}

// Downstream

bool Host::take_cq(Tlp &tlp) {
    if (cq_out_.empty()) return false;
    tlp = std::move(cq_out_.front());
    cq_out_.pop_front();
    return true;
}

bool Host::take_rc(Tlp &tlp) {
    if (rc_out_.empty()) return false;
    tlp = std::move(rc_out_.front());
    rc_out_.pop_front();
    rc_out_bytes_ -= tlp.link_bytes();
    return true;
}

void Host::send_downstream(int64_t now) {
    while (true) {
        bool request = !requests_.empty(), answer = !completions_.empty();
        if (request && cq_out_.size() >= ROOM_CQ) {
            cq_blocked_ = now + 1;
            request = false;
        }
        if (answer && rc_out_bytes_ >= ROOM_BYTES) {
            rc_blocked_ = now + 1;
            answer = false;
        }
        double earliest;
        if (request && (!answer || requests_.front().ready <= completions_.top().when)) {
            earliest = std::max(requests_.front().ready, cq_blocked_);
        } else if (answer) {
            request = false;
            earliest = std::max(completions_.top().when, rc_blocked_);
        } else {
            return;
        }
        if (std::max(earliest, down_pace.free) > now + 1) return;    // driven now, transferred at the next edge
        int size;
        if (request) {
            cq_out_.push_back(std::move(requests_.front().tlp));
            requests_.pop_front();
            size = cq_out_.back().link_bytes();
            count_request(cq_out_.back());
        } else {
            Part part = completions_.top();
            completions_.pop();
            release(now, part);
            size = rc_out_.back().link_bytes();
        }
        down_pace.begin(earliest, size);
    }
}

void Host::release(int64_t now, const Part &part) {
    Read &read = *part.read;
    int at = part.at ? part.at : read.first;
    uint32_t bytes = part.end - part.at, tag = read.request.tag();
    Tlp tlp;
    tlp.header[0] = 0x4au << 24 | (bytes >> 2 & 0x3ff);
    tlp.header[1] = std::max(1, read.end - at) & 0xfff;
    tlp.header[2] = read.request.requester() << 16 | tag << 8 | ((read.address + at) & 0x7f);
    tlp.payload.assign(read.data.begin() + part.at, read.data.begin() + part.end);
    rc_out_bytes_ += tlp.link_bytes();
    statistics.counters.down[DOWN_COMPLETION][read.label].add(tlp);
    rc_out_.push_back(std::move(tlp));
    if (part.end == read.length) {
        reads_[tag] = nullptr;
        outstanding_--;
        statistics.flight(now, -1);
    }
}

void Host::count_request(const Tlp &tlp) {
    Kind kind = tlp.kind();
    bool memory = kind == Kind::memory_read || kind == Kind::memory_write;
    int what = kind == Kind::memory_read ? DOWN_READ : kind == Kind::memory_write ? DOWN_WRITE
               : kind == Kind::message ? DOWN_MESSAGE : DOWN_CONFIG;
    statistics.counters.down[what][memory ? statistics.label_of(tlp.address()) : NONE].add(tlp);
}

// Time

void Host::advance(int64_t now) {
    while (true) {
        double sampled = next_sample();
        if (!arrivals_.empty() && arrivals_.front().arrival <= std::min<double>(now, sampled)) {
            Arrival arrival = std::move(arrivals_.front());
            arrivals_.pop_front();
            arrive(std::move(arrival));
        } else if (sampled <= now) {
            sample();
        } else {
            break;
        }
    }
    if (!requests_.empty() || !completions_.empty()) send_downstream(now);
}

void Host::reset(int64_t cycle) {
    arrivals_.clear();
    queued_.clear();
    queued_np_.clear();
    samples_ = {};
    completions_ = {};
    requests_.clear();
    cq_out_.clear();
    rc_out_.clear();
    rc_out_bytes_ = 0;
    statistics.flight(cycle, -outstanding_);
    outstanding_ = 0;
    for (ReadPointer &read : reads_) read = nullptr;
}
