// From logits to a code: the filters of pipeline/samplers and the noise of pipeline/noise.py, for one row at a time.

#pragma once

#include <algorithm>

#include "vector.h"

namespace native {

constexpr int MOST_LEVELS = 16;

// How the codes of one row are chosen; the mirror of a numpy record in models/native/records.py.
struct Choice {
    uint64_t key;  // of the row's noise
    int64_t step;
    int32_t top_k;  // 0: off
    float top_p;    // 1: off
    float margin;   // of min_p, in logits; infinite: off
    float temperature[MOST_LEVELS];
};

inline uint64_t mix(uint64_t x) {  // splitmix64
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

inline uint64_t child(uint64_t key, uint64_t index) { return mix(key + 0x9e3779b97f4a7c15 * (index + 1)); }

// Chooses among `card` logits, which it overwrites. `work` has room for 3 * card floats, card being whole vectors.
inline int choose(float* logits, int card, const Choice& how, int level, float* work) {
    float temperature = how.temperature[level];
    int best = int(std::max_element(logits, logits + card) - logits);
    if (temperature == 0) return best;
    float top = logits[best], lowest = top - how.margin;
    float* order = work;
    if (how.top_k > 0 && how.top_k < card) {
        std::copy(logits, logits + card, order);
        std::nth_element(order, order + how.top_k - 1, order + card, std::greater<float>());
        float least = order[how.top_k - 1];
        int above = 0, equal = 0;  // of equals at the edge, the first stay
        for (int i = 0; i < card; i++) above += logits[i] > least;
        for (int i = 0; i < card; i++)
            if (logits[i] < least || (logits[i] == least && above + equal++ >= how.top_k)) logits[i] = -INFINITY;
    }
    if (how.top_p < 1) {
        float* shares = work + card;
        Floats total = {};
        for (int i = 0; i < card; i += LANES) {
            Floats logit = floats(logits + i);
            Floats share = logit == -INFINITY ? Floats{} : exp(logit - top);
            total += share;
            store(shares + i, share);
        }
        // all shares below this one together are less than what may be left out
        float whole = sum(total), enough = how.top_p * whole, idle = (whole - enough) / card;
        int count = 0;
        for (int i = 0; i < card; i++) {
            order[count] = shares[i];
            count += shares[i] >= idle;
        }
        std::sort(order, order + count, std::greater<float>());
        float ahead = 0, least = 0;
        for (int i = 0; i < count && ahead < enough; i++) ahead += least = order[i];
        for (int i = 0; i < card; i++) logits[i] = shares[i] < least ? -INFINITY : logits[i];
    }
    // argmax of logits plus Gumbel noise draws from their softmax; only what was kept needs noise
    int* kept = (int*)order;
    int count = 0;
    for (int i = 0; i < card; i++) {
        kept[count] = i;
        count += logits[i] >= lowest && logits[i] > -INFINITY;
    }
    float* score = work + card;
    uint64_t key = child(child(how.key, uint64_t(how.step)), uint64_t(level));
    for (int i = 0; i < count; i++) score[i] = (float(child(key, uint64_t(kept[i])) >> 41) + 0.5f) * 0x1p-23f;
    for (int i = count; i % LANES; i++) score[i] = 0.5f;
    for (int i = 0; i < count; i += LANES) store(score + i, -log(-log(floats(score + i))));
    float scale = 1 / temperature, highest = -INFINITY;
    for (int i = 0; i < count; i++) {
        float value = logits[kept[i]] * scale + score[i];
        if (value > highest) {
            highest = value;
            best = kept[i];
        }
    }
    return best;
}

}  // namespace native
