// float32 matrices into the order of `matrix.h`.

#pragma once

#include "matrix.h"

namespace native {

// Null if there is no memory.
inline Matrix* new_matrix(int precision, int n, int k) {
    constexpr int BITS[] = {32, 16, 8, 4};
    n = round_up(n, PANEL), k = round_up(k, BLOCK);
    size_t panel_bytes = size_t(PANEL) * k * BITS[precision] / 8, bytes = panel_bytes * (n / PANEL);
    size_t scales = precision == INT8 ? size_t(n) * 4 : precision == INT4 ? size_t(n) * (k / BLOCK) * 2 : 0;
    auto* m = new Matrix{precision, n, k, panel_bytes, nullptr, nullptr, nullptr, Memory(bytes + scales)};
    m->data = m->memory.data();
    if (!m->data) {
        delete m;
        return nullptr;
    }
    m->scales = (float*)(m->data + bytes);
    m->block_scales = (uint16_t*)(m->data + bytes);
    if (precision >= INT8) std::memset(m->data, precision == INT8 ? 128 : 0x88, bytes);
    return m;
}

inline int clip(float x, int low, int high) { return std::min(std::max(int(std::nearbyint(x)), low), high); }

inline float unpack(uint16_t half) {
    uint32_t bits = uint32_t(half) << 16;
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

// The int4 step, in bf16, that rounds a block with the smallest squared error. The weight farthest from zero becomes -8 of
// the codes -8 .. 7 with the longest one; with shorter ones it is cut, and the others are finer.
inline uint16_t best_step(const float* block) {
    float far = 0, least = INFINITY;
    for (int i = 0; i < BLOCK; i++) far = std::abs(block[i]) > std::abs(far) ? block[i] : far;
    uint16_t best = 0;
    for (float share = 1; far != 0 && share > 0.7f; share -= 0.06f) {
        uint16_t half = narrow(far * share / -8);
        float step = unpack(half);
        Floats error = {};
        for (int i = 0; i < BLOCK; i += LANES) {
            Floats x = floats(block + i);
            Floats code = __builtin_convertvector(nearest(x / step), Floats);
            Floats off = x - min(max(code, all(-8)), all(7)) * step;
            error += off * off;
        }
        if (sum(error) < least) {
            least = sum(error);
            best = half;
        }
    }
    return best;
}

// Output n of the matrix: weights w [k]. `scale`, if above zero, is the int8 scale that the weights were stored with.
inline void pack_row(Matrix& m, int n, const float* w, int k, float scale) {
    char* panel = m.data + n / PANEL * m.panel_bytes;
    int lane = n % PANEL;
    if (m.precision == FP32)
        for (int i = 0; i < k; i++) ((float*)panel)[size_t(i) * PANEL + lane] = w[i];
    if (m.precision == BF16)
        for (int i = 0; i < k; i++) ((uint16_t*)panel)[(size_t(i / 2) * PANEL + lane) * 2 + i % 2] = narrow(w[i]);
    if (m.precision == INT8) {
        float peak = 0;
        for (int i = 0; i < k; i++) peak = std::max(peak, std::abs(w[i]));
        scale = scale > 0 ? scale : peak / 127;
        m.scales[n] = scale;
        for (int i = 0; i < k; i++)
            ((uint8_t*)panel)[(size_t(i / 4) * PANEL + lane) * 4 + i % 4] =
                uint8_t(128 + (scale > 0 ? clip(w[i] / scale, -127, 127) : 0));
    }
    if (m.precision == INT4)
        for (int first = 0; first < k; first += BLOCK) {
            float block[BLOCK] = {};
            std::copy(w + first, w + std::min(first + BLOCK, k), block);
            uint16_t half = best_step(block);
            float step = unpack(half);
            m.block_scales[(size_t(n / PANEL) * m.blocks() + first / BLOCK) * PANEL + lane] = half;
            for (int i = 0; i < BLOCK; i++) {
                int code = 8 + (step != 0 ? clip(block[i] / step, -8, 7) : 0), at = first + i;
                auto& byte = ((uint8_t*)panel)[(size_t(at / 8) * PANEL + lane) * 4 + at % 4];
                byte = at % 8 < 4 ? uint8_t((byte & 0xf0) | code) : uint8_t((byte & 0x0f) | code << 4);
            }
        }
}

}  // namespace native
