// Event taps of the card, as testbench/system/tap_recorder.py records them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pins.h"

constexpr int TAP_WORDS = 3;        // 96 bits of fields

struct TapEvent {
    uint32_t cycle, number, words[TAP_WORDS];
};

class Taps {
public:
    std::vector<TapEvent> events;

    // Nothing is recorded before this. Throws the name of a port that isn't there.
    void open(const std::string &top, const std::vector<std::string> &names) {
        valid_.open(top, "sim_tap_valid");
        payloads_.resize(names.size());
        for (size_t i = 0; i < names.size(); i++) payloads_[i].open(top, names[i]);
    }

    void sample(int64_t cycle) {
        if (payloads_.empty()) return;
        uint32_t valid[MOST_WORDS];
        if (!valid_.read(valid)) return;        // before the first reset
        for (int word = 0; word < valid_.words(); word++)
            for (uint32_t rest = valid[word]; rest; rest &= rest - 1) {
                TapEvent event = {uint32_t(cycle), uint32_t(32 * word + __builtin_ctz(rest)), {}};
                payloads_[event.number].read(event.words);
                events.push_back(event);
            }
    }

private:
    Pin valid_;
    std::vector<Pin> payloads_;
};
