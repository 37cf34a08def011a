// What the compiled host makes of headers and random numbers, for test_compiled_host.py to compare with Python's answers.
#include <cinttypes>
#include <cstdio>

#include "host.h"

// Headers: four words, whether the label is strict, and whether the tag is outstanding. Prints a complaint or a dash.
static void judge(const Rules &rules) {
    Tlp tlp;
    int strict, outstanding;
    uint32_t *h = tlp.header;
    while (scanf("%" SCNx32 " %" SCNx32 " %" SCNx32 " %" SCNx32 " %d %d", h, h + 1, h + 2, h + 3, &strict, &outstanding) == 6) {
        const char *complaint = rules.complaint(tlp, tlp.kind(), strict, outstanding);
        printf("%s\n", complaint ? complaint : "-");
    }
}

// A profile and a generator's state, then times since the last write. Prints a round trip for each.
static void draw() {
    Latency latency = {};
    Profile &profile = latency.profile;
    for (double &log : profile.logs) scanf("%la", &log);
    scanf("%d %la %la", &profile.instant, &profile.after_write_least, &profile.after_write_most);
    uint32_t state[625];
    for (uint32_t &word : state) scanf("%" SCNu32, &word);
    latency.random.set(state);
    double since;
    while (scanf("%la", &since) == 1) printf("%a\n", latency.round_trip(since));
}

int main(int count, char **) {
    if (count > 1) {
        draw();
        return 0;
    }
    Rules rules;
    scanf("%d %d %d %d %d", &rules.mps, &rules.mrrs, &rules.extended_tags, &rules.bus_master, &rules.requester);
    judge(rules);
}
