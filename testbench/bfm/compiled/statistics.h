// Counters of host_statistics.py, at fixed places from which Python reads them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tlp.h"

constexpr int LABELS = 16, MOST_BYTES = 4096;
enum Label { OTHER, NONE };                                         // the first two; the rest are Python's
enum Up { UP_READ, UP_WRITE, UP_MESSAGE, UP_COMPLETION, UPS };
enum Down { DOWN_READ, DOWN_WRITE, DOWN_MESSAGE, DOWN_CONFIG, DOWN_COMPLETION, DOWNS };

struct Count {
    int64_t tlps, bytes, payload;

    void add(const Tlp &tlp) {
        tlps++;
        bytes += tlp.link_bytes();
        payload += tlp.payload.size();
    }
};

struct Counters {
    int64_t in_flight, most_in_flight, area, changed;
    Count up[UPS][LABELS], down[DOWNS][LABELS];
    int64_t read_sizes[LABELS][MOST_BYTES + 1], write_sizes[LABELS][MOST_BYTES + 1];
};

// A read that the host has begun to serve: what for, and how many ns were drawn for it.
struct Trip {
    int64_t label;
    double ns;
};

struct Range {
    uint64_t address, end;
    int64_t label;
};

class Statistics {
public:
    Counters counters = {};
    std::vector<Range> ranges;      // ascending
    std::vector<Trip> trips;        // never forgotten

    void restart(int64_t cycle) {
        int64_t in_flight = counters.in_flight;
        memset(&counters, 0, sizeof counters);
        counters.in_flight = counters.most_in_flight = in_flight;
        counters.changed = cycle;
    }

    int label_of(uint64_t address) const {
        auto above = std::upper_bound(ranges.begin(), ranges.end(), address,
                                      [](uint64_t at, const Range &range) { return at < range.address; });
        return above != ranges.begin() && address < above[-1].end ? int(above[-1].label) : int(OTHER);
    }

    void flight(int64_t cycle, int64_t change) {
        counters.area += counters.in_flight * (cycle - counters.changed);
        counters.changed = cycle;
        counters.in_flight += change;
        counters.most_in_flight = std::max(counters.most_in_flight, counters.in_flight);
    }
};
