// One direction of a link: see pacing.py.
#pragma once

#include <algorithm>

#include "failure.h"

struct Pace {
    double bytes_per_cycle = 0, free = 0;

    double begin(double earliest, int size) {
        double start = std::max(earliest, free);
        free = start + size / bytes_per_cycle;
        return start;
    }
};

struct Meter {
    const char *name;
    double bytes_per_cycle = 0, slack = 0, level = 0, last = 0;

    void pass(double cycle, int size) {
        level = std::max(0.0, level - (cycle - last) * bytes_per_cycle) + size;
        last = cycle;
        if (level > slack)
            throw failure(Fault::budget, "%s at cycle %.0f: %.0f bytes more than the link carries at %.3f bytes a cycle and %.0f "
                          "buffered", name, cycle, level - slack, bytes_per_cycle, slack);
    }
};
