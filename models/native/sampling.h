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

// A float as an integer of the same order, and back.
inline int32_t rank(float x) {
    int32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits ^ (bits >> 31 & 0x7fffffff);
}

inline float of_rank(int32_t rank) {
    int32_t bits = rank ^ (rank >> 31 & 0x7fffffff);
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// The smallest number such that `values` above it weigh less than `enough`: the last one to keep, if the greatest are
// kept until they weigh enough. Found without sorting, by narrowing down an interval to a fifth again and again.
inline float edge(const float* values, const float* weights, int count, float enough, float top) {
    constexpr int CUTS = 4;
    int64_t low = rank(-INFINITY), high = rank(top);  // too low; high enough
    while (high - low > 1) {
        float at[CUTS], weight[CUTS];
        Floats above[CUTS] = {};
        for (int c = 0; c < CUTS; c++) at[c] = of_rank(int32_t(low + (high - low) * (c + 1) / (CUTS + 1)));
        for (int i = 0; i < count; i += LANES)
            for (int c = 0; c < CUTS; c++) above[c] += floats(values + i) > at[c] ? floats(weights + i) : Floats{};
        for (int c = 0; c < CUTS; c++) weight[c] = sum(above[c]);
        int fits = 0;  // the first cut above which there is less than enough
        while (fits < CUTS && weight[fits] >= enough) fits++;
        if (fits < CUTS) high = rank(at[fits]);
        if (fits > 0) low = rank(at[fits - 1]);
    }
    return of_rank(int32_t(high));
}

// Uniform numbers of entries first .. first + 15, never 0 or 1.
inline Floats uniform(uint64_t key, int first) {
    int32_t bits[LANES];
    for (int i = 0; i < LANES; i++) bits[i] = int32_t(child(key, uint64_t(first + i)) >> 41);
    return (__builtin_convertvector(load<Ints>(bits), Floats) + 0.5f) * 0x1p-23f;
}

inline float highest(const float* x, int count) {
    Floats top = floats(x);
    for (int i = LANES; i < count; i += LANES) top = max(top, floats(x + i));
    return largest(top);
}

// Excludes all but the k greatest logits; of equals at the edge, the first stay.
inline void keep_top_k(float* logits, int card, int k, float top, float* ones) {
    std::fill(ones, ones + card, 1.0f);
    float least = edge(logits, ones, card, float(k), top);
    int above = 0, equal = 0;
    for (int i = 0; i < card; i++) above += logits[i] > least;
    for (int i = 0; i < card; i++)
        if (logits[i] < least || (logits[i] == least && above + equal++ >= k)) logits[i] = -INFINITY;
}

// Excludes all but the most likely, which together reach the share p; equals stay together.
inline void keep_top_p(float* logits, int card, float p, float top, float* shares) {
    Floats total = {};
    for (int i = 0; i < card; i += LANES) {
        Floats logit = floats(logits + i), share = exp(logit - top);
        share = logit == -INFINITY ? Floats{} : share;
        total += share;
        store(shares + i, share);
    }
    float least = edge(shares, shares, card, p * sum(total), 1.0f);
    for (int i = 0; i < card; i += LANES)
        store(logits + i, floats(shares + i) < least ? all(-INFINITY) : floats(logits + i));
}

// Chooses among `card` logits, whole vectors of them, which it overwrites. `work` has room for as many.
inline int choose(float* logits, int card, const Choice& how, int level, float* work) {
    float top = highest(logits, card), temperature = how.temperature[level];
    if (temperature == 0) return int(std::find(logits, logits + card, top) - logits);
    float lowest = top - how.margin;
    if (how.top_k > 0 && how.top_k < card) keep_top_k(logits, card, how.top_k, top, work);
    if (how.top_p < 1) keep_top_p(logits, card, how.top_p, top, work);
    // argmax of logits plus Gumbel noise draws from their softmax
    uint64_t key = child(child(how.key, uint64_t(how.step)), uint64_t(level));
    float scale = 1 / temperature;
    Floats best = all(-INFINITY);
    Ints place = {}, here;
    for (int i = 0; i < LANES; i++) here[i] = i;
    for (int i = 0; i < card; i += LANES, here += LANES) {
        Floats logit = floats(logits + i), score = logit * scale - log(-log(uniform(key, i)));
        score = logit >= lowest ? score : all(-INFINITY);
        place = score > best ? here : place;
        best = max(score, best);
    }
    float greatest = largest(best);
    int found = card;
    for (int i = 0; i < LANES; i++)
        if (best[i] == greatest) found = std::min(found, int(place[i]));
    return found;
}

}  // namespace native
