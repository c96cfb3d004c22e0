/* The element-wise parts of a training step, each in one pass over memory. Compiled on the machine that it runs on.

   Tensors are contiguous, bf16 in and out, fp32 inside. Rows are divided among `threads` in one fixed way, and what is summed over
   rows is summed in fixed blocks, so that the same inputs give the same bits whatever the number of threads.
   No function allocates, fails or keeps anything. */

#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;
typedef int64_t size;

#define EACH_ROW _Pragma("omp parallel for schedule(static) num_threads(threads)")

static inline float up(bf16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float found;
    memcpy(&found, &bits, 4);
    return found;
}

/* To the nearest, ties to even; a NaN stays one. */
static inline bf16 down(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return (bf16)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

/* exp by 2^n * polynomial: within 2 units in the last place between -87 and 88, clamped outside; NaN stays NaN. */
static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float sum = 1.9875691e-4f;
    sum = sum * rest + 1.3981999e-3f;
    sum = sum * rest + 8.3334519e-3f;
    sum = sum * rest + 4.1665796e-2f;
    sum = sum * rest + 1.6666665e-1f;
    sum = sum * rest + 5.0000001e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    int32_t bits = ((int32_t)whole + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return sum * power;
}

static inline float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }

/* A random 32-bit word for a place: a counter-based generator, so that the backward pass draws the same mask again. */
static inline uint32_t draw(uint32_t place, uint32_t seed) {
    uint32_t word = place * 0x9e3779b9u ^ seed;
    word ^= word >> 16;
    word *= 0x21f0aaadu;
    word ^= word >> 15;
    word *= 0x735a2d97u;
    word ^= word >> 15;
    return word;
}

/* The factor of dropout: 0, or 1 / (1 - p). `least` is p * 2^32. */
static inline float kept(uint32_t place, uint32_t seed, uint32_t least, float factor) {
    return draw(place, seed) >= least ? factor : 0.0f;
}

/* ---- norms: rows[n] of width h; a block of rows is summed by itself, and `partial` is [blocks, h] */

void rms_norm(const bf16 *x, const bf16 *add, const bf16 *weight, float from_one, bf16 *sum, bf16 *y, float *scales, size n,
              size h, float epsilon, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        const bf16 *source = x + row * h;
        if (add) {
            bf16 *target = sum + row * h;
            const bf16 *other = add + row * h;
#pragma omp simd
            for (size i = 0; i < h; i++) target[i] = down(up(source[i]) + up(other[i]));
            source = target;
        }
        float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
        for (size i = 0; i < h; i++) squares += up(source[i]) * up(source[i]);
        float scale = 1.0f / __builtin_sqrtf(squares / (float)h + epsilon);
        scales[row] = scale;
        bf16 *target = y + row * h;
#pragma omp simd
        for (size i = 0; i < h; i++) target[i] = down(up(source[i]) * scale * (from_one + up(weight[i])));
    }
}

/* `more`, where given, is the gradient that reaches x by the residual, and is added. */
void rms_norm_back(const bf16 *flow, const bf16 *x, const bf16 *weight, float from_one, const float *scales, const bf16 *more,
                   bf16 *grad, float *partial, size n, size h, size block, int threads) {
    size blocks = (n + block - 1) / block;
    EACH_ROW
    for (size at = 0; at < blocks; at++) {
        float *sums = partial ? partial + at * h : 0;
        size stop = (at + 1) * block < n ? (at + 1) * block : n;
        for (size row = at * block; row < stop; row++) {
            const bf16 *g = flow + row * h, *v = x + row * h, *m = more ? more + row * h : 0;
            bf16 *target = grad + row * h;
            float scale = scales[row], along = 0.0f;
#pragma omp simd reduction(+ : along)
            for (size i = 0; i < h; i++) along += up(g[i]) * (from_one + up(weight[i])) * up(v[i]);
            along *= scale * scale / (float)h;
            if (m)
#pragma omp simd
                for (size i = 0; i < h; i++)
                    target[i] = down((up(g[i]) * (from_one + up(weight[i])) - up(v[i]) * along) * scale + up(m[i]));
            else
#pragma omp simd
                for (size i = 0; i < h; i++)
                    target[i] = down((up(g[i]) * (from_one + up(weight[i])) - up(v[i]) * along) * scale);
            if (sums)
#pragma omp simd
                for (size i = 0; i < h; i++) sums[i] += up(g[i]) * up(v[i]) * scale;
        }
    }
}

/* y = norm(dropout(x) + add); `sum` keeps what is normed. */
void layer_norm(const bf16 *x, const bf16 *add, const bf16 *weight, const bf16 *bias, bf16 *sum, bf16 *y, float *means,
                float *scales, size n, size h, float epsilon, uint32_t seed, uint32_t least, float factor, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        const bf16 *source = x + row * h, *other = add + row * h;
        bf16 *kept_sum = sum + row * h, *target = y + row * h;
        uint32_t place = (uint32_t)(row * h);
        if (least)
#pragma omp simd
            for (size i = 0; i < h; i++)
                kept_sum[i] = down(up(source[i]) * kept(place + (uint32_t)i, seed, least, factor) + up(other[i]));
        else
#pragma omp simd
            for (size i = 0; i < h; i++) kept_sum[i] = down(up(source[i]) + up(other[i]));
        float total = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : total)
        for (size i = 0; i < h; i++) total += up(kept_sum[i]);
        float mean = total / (float)h;
#pragma omp simd reduction(+ : squares)
        for (size i = 0; i < h; i++) squares += (up(kept_sum[i]) - mean) * (up(kept_sum[i]) - mean);
        float scale = 1.0f / __builtin_sqrtf(squares / (float)h + epsilon);
        means[row] = mean;
        scales[row] = scale;
#pragma omp simd
        for (size i = 0; i < h; i++)
            target[i] = down((up(kept_sum[i]) - mean) * scale * up(weight[i]) + up(bias[i]));
    }
}

/* `grad` reaches add, `grad_x` reaches x through the mask; `partial` is [blocks, 2, h]: of the weight and of the bias. */
void layer_norm_back(const bf16 *flow, const bf16 *sum, const bf16 *weight, const float *means, const float *scales, bf16 *grad,
                     bf16 *grad_x, float *partial, size n, size h, size block, uint32_t seed, uint32_t least, float factor,
                     int threads) {
    size blocks = (n + block - 1) / block;
    EACH_ROW
    for (size at = 0; at < blocks; at++) {
        float *of_weight = partial + 2 * at * h, *of_bias = of_weight + h;
        size stop = (at + 1) * block < n ? (at + 1) * block : n;
        for (size row = at * block; row < stop; row++) {
            const bf16 *g = flow + row * h, *v = sum + row * h;
            bf16 *target = grad + row * h, *through = grad_x + row * h;
            uint32_t place = (uint32_t)(row * h);
            float mean = means[row], scale = scales[row], total = 0.0f, along = 0.0f;
#pragma omp simd reduction(+ : total, along)
            for (size i = 0; i < h; i++) {
                float part = up(g[i]) * up(weight[i]);
                total += part;
                along += part * (up(v[i]) - mean) * scale;
            }
            total /= (float)h;
            along /= (float)h;
#pragma omp simd
            for (size i = 0; i < h; i++) {
                float normed = (up(v[i]) - mean) * scale, part = up(g[i]);
                float found = (part * up(weight[i]) - total - normed * along) * scale;
                of_weight[i] += part * normed;
                of_bias[i] += part;
                target[i] = down(found);
                through[i] = least ? down(found * kept(place + (uint32_t)i, seed, least, factor)) : down(found);
            }
        }
    }
}

/* x * factor where it is kept: its own backward pass. */
void drop(const bf16 *x, bf16 *y, size n, size h, uint32_t seed, uint32_t least, float factor, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++)
#pragma omp simd
        for (size i = row * h; i < (row + 1) * h; i++) y[i] = down(up(x[i]) * kept((uint32_t)i, seed, least, factor));
}

/* ---- activations: rows[n] of [gate h, up h] */

void swiglu(const bf16 *x, bf16 *y, size n, size h, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        const bf16 *gate = x + 2 * row * h, *other = gate + h;
        bf16 *target = y + row * h;
#pragma omp simd
        for (size i = 0; i < h; i++) target[i] = down(up(gate[i]) * logistic(up(gate[i])) * up(other[i]));
    }
}

void swiglu_back(const bf16 *flow, const bf16 *x, bf16 *grad, size n, size h, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        const bf16 *gate = x + 2 * row * h, *other = gate + h, *g = flow + row * h;
        bf16 *of_gate = grad + 2 * row * h, *of_other = of_gate + h;
#pragma omp simd
        for (size i = 0; i < h; i++) {
            float a = up(gate[i]), s = logistic(a), f = up(g[i]);
            of_other[i] = down(f * a * s);
            of_gate[i] = down(f * up(other[i]) * s * (1.0f + a * (1.0f - s)));
        }
    }
}

/* ---- rotary positions, in place: rows[n] of `stride`, heads of width d; `sign` -1 turns back */

void rotate(bf16 *x, const float *cosines, const float *sines, size n, size heads, size d, size stride, float sign, int threads) {
    size half = d / 2;
    EACH_ROW
    for (size row = 0; row < n; row++) {
        const float *c = cosines + row * half, *s = sines + row * half;
        for (size head = 0; head < heads; head++) {
            bf16 *first = x + row * stride + head * d, *second = first + half;
#pragma omp simd
            for (size i = 0; i < half; i++) {
                float a = up(first[i]), b = up(second[i]), turn = sign * s[i];
                first[i] = down(a * c[i] - b * turn);
                second[i] = down(b * c[i] + a * turn);
            }
        }
    }
}

/* ---- attention: segments s[S] of rows [any, stride], heads g[G] of r[R] each, slots l[L], width d */

/* out[g * S + s, r, l, :] = the row's head, zero beyond the segment's length */
void lay(const bf16 *rows, bf16 *out, const int64_t *starts, const int64_t *lengths, size segments, size longest, size groups,
         size heads, size d, size stride, int threads) {
    EACH_ROW
    for (size at = 0; at < groups * segments * heads; at++) {
        size segment = at / heads % segments, head = at / heads / segments * heads + at % heads;
        const bf16 *source = rows + starts[segment] * stride + head * d;
        bf16 *target = out + at * longest * d;
        size length = lengths[segment];
        for (size slot = 0; slot < length; slot++) memcpy(target + slot * d, source + slot * stride, d * sizeof(bf16));
        memset(target + length * d, 0, (longest - length) * d * sizeof(bf16));
    }
}

/* The way back; what lies beyond a segment's length is left out. */
void take(const bf16 *laid, bf16 *rows, const int64_t *starts, const int64_t *lengths, size segments, size longest, size groups,
          size heads, size d, size stride, int threads) {
    EACH_ROW
    for (size at = 0; at < groups * segments * heads; at++) {
        size segment = at / heads % segments, head = at / heads / segments * heads + at % heads;
        bf16 *target = rows + starts[segment] * stride + head * d;
        const bf16 *source = laid + at * longest * d;
        for (size slot = 0; slot < lengths[segment]; slot++)
            memcpy(target + slot * stride, source + slot * d, d * sizeof(bf16));
    }
}

/* ---- softmax: scores [batch, rows * queries, keys] */

/* Row q of `queries` sees keys [lowest, highest) with, if causal, highest = offset + q + 1 and lowest = highest - window;
   else [0, lengths[b]). The scores become probabilities in place; `used`, where given, gets them after dropout. */
void softmax(bf16 *scores, bf16 *used, const int64_t *lengths, size batch, size rows, size queries, size keys, size offset,
             size window, float scale, uint32_t seed, uint32_t least, float factor, int threads) {
    size per = rows * queries;
    EACH_ROW
    for (size row = 0; row < batch * per; row++) {
        size high = keys, low = 0;
        if (lengths)
            high = lengths[row / per];
        else if (window) {
            high = offset + row % queries + 1;
            low = high > window ? high - window : 0;
        }
        bf16 *line = scores + row * keys;
        float most = -3.0e38f, total = 0.0f, values[8192];
#pragma omp simd reduction(max : most)
        for (size i = low; i < high; i++) most = up(line[i]) > most ? up(line[i]) : most;
#pragma omp simd reduction(+ : total)
        for (size i = low; i < high; i++) {
            float value = exponential((up(line[i]) - most) * scale);
            values[i] = value;
            total += value;
        }
        float share = 1.0f / total;
#pragma omp simd
        for (size i = 0; i < low; i++) line[i] = 0;
#pragma omp simd
        for (size i = low; i < high; i++) line[i] = down(values[i] * share);
#pragma omp simd
        for (size i = high; i < keys; i++) line[i] = 0;
        if (used) {
            uint32_t place = (uint32_t)(row * keys);
#pragma omp simd
            for (size i = 0; i < keys; i++)
                used[row * keys + i] = down(up(line[i]) * kept(place + (uint32_t)i, seed, least, factor));
        }
    }
}

/* Gradients of the probabilities become those of the scores, in place. */
void softmax_back(bf16 *grads, const bf16 *chances, size n, size keys, float scale, uint32_t seed, uint32_t least, float factor,
                  int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        bf16 *g = grads + row * keys;
        const bf16 *p = chances + row * keys;
        uint32_t place = (uint32_t)(row * keys);
        float along = 0.0f;
        if (least) {
#pragma omp simd
            for (size i = 0; i < keys; i++) g[i] = down(up(g[i]) * kept(place + (uint32_t)i, seed, least, factor));
        }
#pragma omp simd reduction(+ : along)
        for (size i = 0; i < keys; i++) along += up(g[i]) * up(p[i]);
#pragma omp simd
        for (size i = 0; i < keys; i++) g[i] = down(up(p[i]) * (up(g[i]) - along) * scale);
    }
}

/* ---- cross-entropy: logits[n, v] become what flows back to them, in place; losses[n] in fp32 */

void cross_entropy(bf16 *logits, const int64_t *ids, const float *weights, float *losses, size n, size v, int wants, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        bf16 *line = logits + row * v;
        float most = -3.0e38f, total = 0.0f, own = up(line[ids[row]]);
#pragma omp simd reduction(max : most)
        for (size i = 0; i < v; i++) most = up(line[i]) > most ? up(line[i]) : most;
        for (size start = 0; start < v; start += 4096) { /* sums of blocks keep the rounding small */
            size stop = start + 4096 < v ? start + 4096 : v;
            float part = 0.0f;
#pragma omp simd reduction(+ : part)
            for (size i = start; i < stop; i++) part += exponential(up(line[i]) - most);
            total += part;
        }
        float lost = __builtin_logf(total) + most - own;
        losses[row] = lost;
        if (!wants) continue;
        float share = weights[row] / total;
#pragma omp simd
        for (size i = 0; i < v; i++) line[i] = down(exponential(up(line[i]) - most) * share);
        line[ids[row]] = down((exponential(own - most) / total - 1.0f) * weights[row]);
    }
}

/* ---- the update */

/* Gradients come in fp32, or in bf16 as the products left them. */
static inline float same(float value) { return value; }

/* Sums of squares of blocks of 65,536: partial[blocks]. */
#define SQUARES(name, type, read)                                                                                       \
    void name(const type *x, double *partial, size n, int threads) {                                                    \
        size blocks = (n + 65535) / 65536;                                                                              \
        EACH_ROW                                                                                                        \
        for (size at = 0; at < blocks; at++) {                                                                          \
            size stop = (at + 1) * 65536 < n ? (at + 1) * 65536 : n;                                                    \
            float total = 0.0f;                                                                                         \
            _Pragma("omp simd reduction(+ : total)") for (size i = at * 65536; i < stop; i++) total +=                  \
                read(x[i]) * read(x[i]);                                                                                \
            partial[at] = total;                                                                                        \
        }                                                                                                               \
    }
SQUARES(squares, float, same)
SQUARES(squares_bf16, bf16, up)

/* AdamW: the gradient times `clip`, both moments, the weight, and its bf16 copy where there is one. */
#define ADAMW(name, type, read)                                                                                         \
    void name(float *weight, float *first, float *second, const type *grad, bf16 *copy, size n, float clip,             \
              float shrink, float rate, float root, float beta1, float beta2, float epsilon, int threads) {             \
        float other1 = 1.0f - beta1, other2 = 1.0f - beta2;                                                             \
        size blocks = (n + 16383) / 16384;                                                                              \
        EACH_ROW                                                                                                        \
        for (size at = 0; at < blocks; at++) {                                                                          \
            size stop = (at + 1) * 16384 < n ? (at + 1) * 16384 : n;                                                    \
            _Pragma("omp simd") for (size i = at * 16384; i < stop; i++) {                                              \
                float g = read(grad[i]) * clip;                                                                         \
                float m = first[i] + (g - first[i]) * other1;                                                           \
                float v = second[i] * beta2 + g * g * other2;                                                           \
                first[i] = m;                                                                                           \
                second[i] = v;                                                                                          \
                weight[i] = weight[i] * shrink - rate * m / (__builtin_sqrtf(v) * root + epsilon);                      \
            }                                                                                                           \
            if (copy) _Pragma("omp simd") for (size i = at * 16384; i < stop; i++) copy[i] = down(weight[i]);           \
        }                                                                                                               \
    }
ADAMW(adamw, float, same)
ADAMW(adamw_bf16, bf16, up)
