// Runs the steps of a language model: a list of operations over named buffers, each row at its own position.
//
// It knows matrices, attention, norms and choices, and no model; models/native/programs.py writes a model's list. One
// call runs the list for all rows, without Python in between.
//
// Threads share the work in one of two ways. `apart`: each takes some groups of rows through the whole list, and they
// meet once at the end; for small matrices that stay in the processor's cache. Together: each takes some outputs of every
// matrix, and they meet after every operation; for large ones, which are then read from memory once.

#pragma once

#include "attention.h"
#include "sampling.h"
#include "team.h"

namespace native {

enum Kind { EMBED, TURN, LINEAR, ATTEND, HEAR, CHOOSE, TELL };
enum Norm { NO_NORM, RMS, LAYER };
enum Activation { NO_ACTIVATION, SQUARED_RELU, GELU, CAP };

// The mirror of a numpy record in models/native/records.py. Which fields an operation reads stands beside it below.
struct Op {
    int32_t kind, from, to, norm, activation, add, layer, level, first, rotary;
    double number;
    const Matrix* matrix;
    const Cache* cache;
    const float* table;
    const float* bias;
};

// One sequence at one position: where its keys and values are, and those of what it hears by cross-attention.
// A row belongs to a group: the passes of guidance, which read the same codes.
struct Row {
    const Cache* cache;
    const Cache* source;
    int32_t slot, position, source_slot, source_length;
};

struct Group {
    int32_t first_row, passes;
    float weights[4];
    Choice choice;
};

struct Call {
    const Op* ops;
    const Row* rows;
    const Group* groups;
    const int32_t* codes;  // [groups, n_q] that are read
    int32_t* chosen;       // [groups, n_q] that are written, or given already if `forced`
    const float* given;    // [rows, width] added to what is embedded, or null
    int32_t num_ops, num_rows, num_groups, n_q, card, apart, forced, unused;
};

struct Buffer {
    int width, stride;  // stride in whole blocks and a panel more, which the last outputs of a matrix may reach into
    std::vector<float> values;
    float* row(int r) { return values.data() + size_t(r) * stride; }
};

struct Scratch {  // of one thread
    std::vector<float> wide, scales, sums, scores, turns;
    std::vector<int8_t> codes;
};

struct Share {  // what one thread does
    int first_group, last_group, first_row, last_row, part, parts;
};

// Part `part` of `parts` of 0 .. count - 1.
inline int cut(int count, int part, int parts) { return int(int64_t(count) * part / parts); }

class Machine {
  public:
    Machine(int threads, const int32_t* widths, int count) : team_(threads), scratch_(size_t(threads)) {
        for (int i = 0; i < count; i++) buffers_.push_back({widths[i], round_up(widths[i] + PANEL, BLOCK), {}});
    }

    void make_room(int rows) {
        for (auto& b : buffers_) b.values.resize(std::max(b.values.size(), size_t(rows) * size_t(b.stride)));
    }

    Buffer& buffer(int i) { return buffers_[size_t(i)]; }

    void run(const Call& call) {
        int parts = team_.is_hindered() ? 1 : team_.size();
        bool apart = call.apart || parts == 1;
        auto work = [&](int part) {
            int first = cut(call.num_groups, part, parts), last = cut(call.num_groups, part + 1, parts);
            Share share{first, last, 0, call.num_rows, part, parts};
            if (apart) {
                share.first_row = row_of(call, first), share.last_row = row_of(call, last);
                share.part = 0, share.parts = 1;
            }
            for (int i = 0; i < call.num_ops; i++) {
                step(call, call.ops[i], share, scratch_[size_t(part)]);
                if (!apart) team_.meet();
            }
        };
        if (parts == 1) work(0);
        else team_.run(work);
    }

  private:
    static int row_of(const Call& call, int group) {
        return group == call.num_groups ? call.num_rows : call.groups[group].first_row;
    }

    void step(const Call& call, const Op& op, const Share& share, Scratch& scratch) {
        switch (op.kind) {
            case EMBED: embed(call, op, share); break;
            case TURN: turn(call, op, share, scratch); break;
            case LINEAR: linear(op, share, scratch); break;
            case ATTEND: attend_rows(call, op, share, scratch); break;
            case HEAR: hear(call, op, share, scratch); break;
            case CHOOSE: choose_rows(call, op, share, scratch); break;
            default: tell(call, op, share);
        }
    }

    // to = the sum of the codes' vectors in `table`, plus what was given; `bias`: a table of positions, added as well
    void embed(const Call& call, const Op& op, const Share& share) {
        Buffer& out = buffer(op.to);
        for (int g = share.first_group; g < share.last_group; g++)
            for (int r = call.groups[g].first_row, pass = 0; pass < call.groups[g].passes; pass++, r++) {
                float* x = out.row(r);
                std::fill(x, x + out.width, 0.0f);
                for (int k = 0; call.codes && k < call.n_q; k++)
                    add(x, op.table + (size_t(k) * (call.card + 1) + call.codes[g * call.n_q + k]) * out.width, out.width);
                if (call.given) add(x, call.given + size_t(r) * out.width, out.width);
                if (op.bias) add(x, op.bias + size_t(call.rows[r].position) * out.width, out.width);
            }
    }

    static void add(float* x, const float* y, int count) {
        for (int i = 0; i < count; i++) x[i] += y[i];
    }

    // works out cosines and signed sines of every row's position, for `first` = head_dim
    void turn(const Call& call, const Op& op, const Share& share, Scratch& scratch) {
        int dim = op.first;
        scratch.turns.resize(std::max(scratch.turns.size(), size_t(call.num_rows) * 2 * size_t(dim)));
        for (int r = share.first_row; r < share.last_row; r++) {
            float* at = &scratch.turns[size_t(r) * 2 * size_t(dim)];
            if (r > share.first_row && call.rows[r].position == call.rows[r - 1].position)
                std::copy(at - 2 * dim, at, at);
            else
                turn_to(call.rows[r].position, dim, at);
        }
    }

    // In double, because float loses the phase of a position after some hours of frames.
    static void turn_to(int position, int dim, float* at) {
        for (int i = 0; i < dim / 2; i++) {
            double angle = position * std::pow(10000.0, -2.0 * i / dim);
            float cosine = float(std::cos(angle)), sine = float(std::sin(angle));
            at[i] = at[i + dim / 2] = cosine;
            at[dim + i] = -sine;
            at[dim + i + dim / 2] = sine;
        }
    }

    // to (+)= activation(matrix norm(from)), from column `first` of `to` on; table and bias: those of a layer norm
    void linear(const Op& op, const Share& share, Scratch& scratch) {
        const Matrix& m = *op.matrix;
        int count = share.last_row - share.first_row;
        if (!count) return;
        Rows x = prepare(op, share.first_row, count, scratch);
        float* out = buffer(op.to).row(share.first_row) + op.first;
        int stride = buffer(op.to).stride;
        for (int p = cut(m.panels(), share.part, share.parts); p < cut(m.panels(), share.part + 1, share.parts); p++) {
            int row = 0;
            for (; row + TILE <= count; row += TILE) finish<TILE>(op, m, p, x, row, out, stride);
            switch (count - row) {
                case 5: finish<5>(op, m, p, x, row, out, stride); break;
                case 4: finish<4>(op, m, p, x, row, out, stride); break;
                case 3: finish<3>(op, m, p, x, row, out, stride); break;
                case 2: finish<2>(op, m, p, x, row, out, stride); break;
                case 1: finish<1>(op, m, p, x, row, out, stride); break;
            }
        }
    }

    Rows prepare(const Op& op, int first, int count, Scratch& scratch) {
        Buffer& in = buffer(op.from);
        const float* wide = in.row(first);
        size_t size = size_t(count) * in.stride;
        if (op.norm != NO_NORM) {
            scratch.wide.resize(std::max(scratch.wide.size(), size));
            for (int r = 0; r < count; r++) normalise(op, in.row(first + r), &scratch.wide[size_t(r) * in.stride], in);
            wide = scratch.wide.data();
        }
        Rows x{in.stride, op.matrix->blocks(), wide, nullptr, nullptr, nullptr};
        if (op.matrix->precision >= INT8) {
            scratch.codes.resize(std::max(scratch.codes.size(), size));
            scratch.scales.resize(std::max(scratch.scales.size(), size / BLOCK));
            scratch.sums.resize(std::max(scratch.sums.size(), size / BLOCK));
            quantise(wide, count, in.stride, op.matrix->k, scratch.codes.data(), scratch.scales.data(),
                     scratch.sums.data());
            x.codes = scratch.codes.data(), x.scales = scratch.scales.data(), x.sums = scratch.sums.data();
        }
        return x;
    }

    static void normalise(const Op& op, const float* x, float* y, const Buffer& in) {
        Floats total = {}, squares = {};
        for (int i = 0; i < in.stride; i += LANES) total += floats(x + i);
        float mean = op.norm == LAYER ? sum(total) / float(in.width) : 0;
        for (int i = 0; i < in.width; i += LANES) {
            Floats v = floats(x + i) - mean;
            for (int j = in.width - i; j < LANES; j++) v[j] = 0;
            squares += v * v;
        }
        float square = sum(squares) / float(in.width);
        float scale = op.norm == LAYER ? 1 / std::sqrt(square + 1e-5f) : 1 / (1e-6f + std::sqrt(square));
        for (int i = 0; i < in.width; i++) y[i] = (x[i] - mean) * scale;
        if (op.norm == LAYER)
            for (int i = 0; i < in.width; i++) y[i] = y[i] * op.table[i] + op.bias[i];
        std::fill(y + in.width, y + in.stride, 0.0f);
    }

    template <int R>
    static void finish(const Op& op, const Matrix& m, int panel, const Rows& x, int row, float* out, int stride) {
        Tile<R> t = product<R>(m, panel, x, row);
        for (int r = 0; r < R; r++)
            for (int i = 0; i < 2; i++) {
                float* at = out + size_t(row + r) * stride + panel * PANEL + i * LANES;
                Floats v = t.out[r][i];
                if (op.activation == SQUARED_RELU) v = max(v, Floats{}) * max(v, Floats{});
                if (op.activation == GELU) v = 0.5f * v * (1.0f + erf(v * 0.707106781f));
                if (op.activation == CAP) v = float(op.number) * tanh(v / float(op.number));
                store(at, op.add ? floats(at) + v : v);
            }
    }

    // to = attention of the queries in `from` [3 * heads * head_dim] over the cache, into which keys and values go
    // first. `level` is the position, or -1: that of the row. rotary: queries and keys are normalised and turned, by
    // `table` or by what TURN has left.
    void attend_rows(const Call& call, const Op& op, const Share& share, Scratch& scratch) {
        for (int r = share.first_row; r < share.last_row; r++) {
            const Cache& c = op.level < 0 ? *call.rows[r].cache : *op.cache;
            scratch.scores.resize(std::max(scratch.scores.size(), size_t(c.tiles()) * LANES));
            int width = c.heads * c.head_dim;
            int slot = op.level < 0 ? call.rows[r].slot : r;
            int position = op.level < 0 ? call.rows[r].position : op.level;
            const float* x = buffer(op.from).row(r);
            const float* turns = op.table ? op.table + size_t(position) * 2 * c.head_dim
                                          : scratch.turns.data() + size_t(r) * 2 * c.head_dim;
            for (int h = cut(c.heads, share.part, share.parts); h < cut(c.heads, share.part + 1, share.parts); h++) {
                alignas(64) float query[MOST_HEAD_DIM], key[MOST_HEAD_DIM], out[MOST_HEAD_DIM];
                std::fill(query, query + c.padded, 0.0f);
                std::fill(key, key + c.padded, 0.0f);
                const float* at = x + h * c.head_dim;
                std::copy(at, at + c.head_dim, query);
                std::copy(at + width, at + width + c.head_dim, key);
                if (op.rotary) rotate(query, turns, c.head_dim), rotate(key, turns, c.head_dim);
                for (int d = 0; d < c.head_dim; d++) query[d] *= float(op.number);
                int count = std::min(position + 1, c.window);
                if (c.half) {
                    write<uint16_t>(c, op.layer, slot, h, position, key, at + 2 * width);
                    attend<uint16_t>(c, op.layer, slot, h, count, query, scratch.scores.data(), out);
                } else {
                    write<float>(c, op.layer, slot, h, position, key, at + 2 * width);
                    attend<float>(c, op.layer, slot, h, count, query, scratch.scores.data(), out);
                }
                std::copy(out, out + c.head_dim, buffer(op.to).row(r) + h * c.head_dim);
            }
        }
    }

    // The root mean square becomes one, and the pairs (i, i + head_dim / 2) are turned by cosines and signed sines.
    static void rotate(float* x, const float* turn, int head_dim) {
        Floats squares = {};
        for (int d = 0; d < head_dim; d += LANES) squares += floats(x + d) * floats(x + d);
        float scale = 1 / (1e-6f + std::sqrt(sum(squares) / float(head_dim)));
        for (int d = 0; d < head_dim / 2; d++) {
            float a = x[d] * scale, b = x[d + head_dim / 2] * scale;
            x[d] = a * turn[d] + b * turn[head_dim + d];
            x[d + head_dim / 2] = b * turn[head_dim / 2 + d] + a * turn[head_dim + head_dim / 2 + d];
        }
    }

    // to = attention of the queries in `from` over the row's source; zero for a row that has none
    void hear(const Call& call, const Op& op, const Share& share, Scratch& scratch) {
        for (int r = share.first_row; r < share.last_row; r++) {
            float* to = buffer(op.to).row(r);
            int heads = op.first, dim = buffer(op.to).width / heads, count = call.rows[r].source_length;
            for (int h = cut(heads, share.part, share.parts); h < cut(heads, share.part + 1, share.parts); h++) {
                alignas(64) float query[MOST_HEAD_DIM] = {}, out[MOST_HEAD_DIM] = {};
                const float* at = buffer(op.from).row(r) + h * dim;
                for (int d = 0; d < dim; d++) query[d] = at[d] * float(op.number);
                if (count) {
                    const Cache& c = *call.rows[r].source;
                    int slot = call.rows[r].source_slot;
                    scratch.scores.resize(std::max(scratch.scores.size(), size_t(c.tiles()) * LANES));
                    float* scores = scratch.scores.data();
                    if (c.half) attend<uint16_t>(c, op.layer, slot, h, count, query, scores, out);
                    else attend<float>(c, op.layer, slot, h, count, query, scores, out);
                }
                std::copy(out, out + dim, to + h * dim);
            }
        }
    }

    // chosen[level] = a code from the guided logits in `from`, entries `first` .. `first + card - 1`
    void choose_rows(const Call& call, const Op& op, const Share& share, Scratch& scratch) {
        if (call.forced) return;
        int card = call.card, whole = round_up(card, LANES);
        scratch.wide.resize(std::max(scratch.wide.size(), size_t(2 * whole)));
        float* logits = scratch.wide.data();
        for (int g = share.first_group; g < share.last_group; g++) {
            const Group& group = call.groups[g];
            for (int i = 0; i < whole; i += LANES) {
                Floats guided = {};
                for (int pass = 0; pass < group.passes; pass++)
                    guided += group.weights[pass] * floats(buffer(op.from).row(group.first_row + pass) + op.first + i);
                store(logits + i, guided);
            }
            std::fill(logits + card, logits + whole, -INFINITY);
            call.chosen[g * call.n_q + op.level] = choose(logits, whole, group.choice, op.level, logits + whole);
        }
    }

    // to = the vector in `table` of the code that was chosen at `level`, for every pass
    void tell(const Call& call, const Op& op, const Share& share) {
        Buffer& out = buffer(op.to);
        for (int g = share.first_group; g < share.last_group; g++)
            for (int r = call.groups[g].first_row, pass = 0; pass < call.groups[g].passes; pass++, r++) {
                const float* vector = op.table + size_t(call.chosen[g * call.n_q + op.level]) * out.width;
                std::copy(vector, vector + out.width, out.row(r));
            }
    }

    static constexpr int MOST_HEAD_DIM = 256;
    Team team_;
    std::vector<Buffer> buffers_;
    std::vector<Scratch> scratch_;
};

}  // namespace native
