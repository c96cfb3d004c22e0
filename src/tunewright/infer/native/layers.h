/* The layers' parts, included by kernels.c once for each type of `real`, which UP reads as fp32 and DOWN writes.
   NAME gives each function its name: `softmax_bf16`, `softmax_fp32`. */

/* ---- norms: rows[n] of width h; a block of rows is summed by itself, and `partial` is [blocks, h] */

void NAME(rms_norm)(const real *x, const real *add, const real *weight, float from_one, real *sum, real *y, float *scales,
                    size n, size h, float epsilon, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        const real *source = x + row * h;
        if (add) {
            real *target = sum + row * h;
            const real *other = add + row * h;
#pragma omp simd
            for (size i = 0; i < h; i++) target[i] = DOWN(UP(source[i]) + UP(other[i]));
            source = target;
        }
        float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
        for (size i = 0; i < h; i++) squares += UP(source[i]) * UP(source[i]);
        float scale = 1.0f / __builtin_sqrtf(squares / (float)h + epsilon);
        scales[row] = scale;
        real *target = y + row * h;
#pragma omp simd
        for (size i = 0; i < h; i++) target[i] = DOWN(UP(source[i]) * scale * (from_one + UP(weight[i])));
    }
}

/* `more`, where given, is the gradient that reaches x by the residual, and is added. */
void NAME(rms_norm_back)(const real *flow, const real *x, const real *weight, float from_one, const float *scales,
                         const real *more, real *grad, float *partial, size n, size h, size block, int threads) {
    size blocks = (n + block - 1) / block;
    EACH_ROW
    for (size at = 0; at < blocks; at++) {
        float *sums = partial ? partial + at * h : 0;
        size stop = (at + 1) * block < n ? (at + 1) * block : n;
        for (size row = at * block; row < stop; row++) {
            const real *g = flow + row * h, *v = x + row * h, *m = more ? more + row * h : 0;
            real *target = grad + row * h;
            float scale = scales[row], along = 0.0f;
#pragma omp simd reduction(+ : along)
            for (size i = 0; i < h; i++) along += UP(g[i]) * (from_one + UP(weight[i])) * UP(v[i]);
            along *= scale * scale / (float)h;
            if (m)
#pragma omp simd
                for (size i = 0; i < h; i++)
                    target[i] = DOWN((UP(g[i]) * (from_one + UP(weight[i])) - UP(v[i]) * along) * scale + UP(m[i]));
            else
#pragma omp simd
                for (size i = 0; i < h; i++)
                    target[i] = DOWN((UP(g[i]) * (from_one + UP(weight[i])) - UP(v[i]) * along) * scale);
            if (sums)
#pragma omp simd
                for (size i = 0; i < h; i++) sums[i] += UP(g[i]) * UP(v[i]) * scale;
        }
    }
}

/* y = norm(dropout(x) + add); `sum` keeps what is normed, which is x itself where nothing is added. */
void NAME(layer_norm)(const real *x, const real *add, const real *weight, const real *bias, real *sum, real *y, float *means,
                      float *scales, size n, size h, float epsilon, uint32_t seed, uint32_t least, float factor, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        const real *source = x + row * h, *other = add ? add + row * h : 0;
        real *kept_sum = sum + row * h, *target = y + row * h;
        uint32_t place = (uint32_t)(row * h);
        if (other && least)
#pragma omp simd
            for (size i = 0; i < h; i++)
                kept_sum[i] = DOWN(UP(source[i]) * kept(place + (uint32_t)i, seed, least, factor) + UP(other[i]));
        else if (other)
#pragma omp simd
            for (size i = 0; i < h; i++) kept_sum[i] = DOWN(UP(source[i]) + UP(other[i]));
        float total = 0.0f, squares = 0.0f;
#pragma omp simd reduction(+ : total)
        for (size i = 0; i < h; i++) total += UP(kept_sum[i]);
        float mean = total / (float)h;
#pragma omp simd reduction(+ : squares)
        for (size i = 0; i < h; i++) squares += (UP(kept_sum[i]) - mean) * (UP(kept_sum[i]) - mean);
        float scale = 1.0f / __builtin_sqrtf(squares / (float)h + epsilon);
        means[row] = mean;
        scales[row] = scale;
#pragma omp simd
        for (size i = 0; i < h; i++)
            target[i] = DOWN((UP(kept_sum[i]) - mean) * scale * UP(weight[i]) + UP(bias[i]));
    }
}

/* `grad` reaches add, `grad_x` reaches x through the mask; `partial` is [blocks, 2, h]: of the weight and of the bias. */
void NAME(layer_norm_back)(const real *flow, const real *sum, const real *weight, const float *means, const float *scales,
                           real *grad, real *grad_x, float *partial, size n, size h, size block, uint32_t seed, uint32_t least,
                           float factor, int threads) {
    size blocks = (n + block - 1) / block;
    EACH_ROW
    for (size at = 0; at < blocks; at++) {
        float *of_weight = partial + 2 * at * h, *of_bias = of_weight + h;
        size stop = (at + 1) * block < n ? (at + 1) * block : n;
        for (size row = at * block; row < stop; row++) {
            const real *g = flow + row * h, *v = sum + row * h;
            real *target = grad + row * h, *through = grad_x + row * h;
            uint32_t place = (uint32_t)(row * h);
            float mean = means[row], scale = scales[row], total = 0.0f, along = 0.0f;
#pragma omp simd reduction(+ : total, along)
            for (size i = 0; i < h; i++) {
                float part = UP(g[i]) * UP(weight[i]);
                total += part;
                along += part * (UP(v[i]) - mean) * scale;
            }
            total /= (float)h;
            along /= (float)h;
#pragma omp simd
            for (size i = 0; i < h; i++) {
                float normed = (UP(v[i]) - mean) * scale, part = UP(g[i]);
                float found = (part * UP(weight[i]) - total - normed * along) * scale;
                of_weight[i] += part * normed;
                of_bias[i] += part;
                target[i] = DOWN(found);
                through[i] = least ? DOWN(found * kept(place + (uint32_t)i, seed, least, factor)) : DOWN(found);
            }
        }
    }
}

/* x * factor where it is kept: its own backward pass. */
void NAME(drop)(const real *x, real *y, size n, size h, uint32_t seed, uint32_t least, float factor, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++)
#pragma omp simd
        for (size i = row * h; i < (row + 1) * h; i++) y[i] = DOWN(UP(x[i]) * kept((uint32_t)i, seed, least, factor));
}

/* ---- gated units: rows[n] of [gate h, up h]; the gate is x * logistic(INSIDE(x)), SLOPE its derivative inside */

#define GATED(name, INSIDE, SLOPE)                                                                                      \
    void NAME(name)(const real *x, real *y, size n, size h, int threads) {                                              \
        EACH_ROW                                                                                                        \
        for (size row = 0; row < n; row++) {                                                                            \
            const real *gate = x + 2 * row * h, *other = gate + h;                                                      \
            real *target = y + row * h;                                                                                 \
            _Pragma("omp simd") for (size i = 0; i < h; i++) target[i] =                                                \
                DOWN(UP(gate[i]) * logistic(INSIDE(UP(gate[i]))) * UP(other[i]));                                       \
        }                                                                                                               \
    }                                                                                                                   \
    void NAME(name##_back)(const real *flow, const real *x, real *grad, size n, size h, int threads) {                  \
        EACH_ROW                                                                                                        \
        for (size row = 0; row < n; row++) {                                                                            \
            const real *gate = x + 2 * row * h, *other = gate + h, *g = flow + row * h;                                 \
            real *of_gate = grad + 2 * row * h, *of_other = of_gate + h;                                                \
            _Pragma("omp simd") for (size i = 0; i < h; i++) {                                                          \
                float a = UP(gate[i]), s = logistic(INSIDE(a)), f = UP(g[i]);                                           \
                of_other[i] = DOWN(f * a * s);                                                                          \
                of_gate[i] = DOWN(f * UP(other[i]) * s * (1.0f + a * (1.0f - s) * SLOPE(a)));                           \
            }                                                                                                           \
        }                                                                                                               \
    }
GATED(swiglu, same, one)
GATED(geglu, cubic, cubic_slope)
#undef GATED

/* ---- rotary positions, in place: rows[n] of `stride`, heads of width d; `sign` -1 turns back */

void NAME(rotate)(real *x, const float *cosines, const float *sines, size n, size heads, size d, size stride, float sign,
                  int threads) {
    size half = d / 2;
    EACH_ROW
    for (size row = 0; row < n; row++) {
        const float *c = cosines + row * half, *s = sines + row * half;
        for (size head = 0; head < heads; head++) {
            real *first = x + row * stride + head * d, *second = first + half;
#pragma omp simd
            for (size i = 0; i < half; i++) {
                float a = UP(first[i]), b = UP(second[i]), turn = sign * s[i];
                first[i] = DOWN(a * c[i] - b * turn);
                second[i] = DOWN(b * c[i] + a * turn);
            }
        }
    }
}

/* ---- attention: segments s[S] of rows [any, stride], heads g[G] of r[R] each, slots l[L], width d */

/* out[g * S + s, r, l, :] = the row's head, zero beyond the segment's length */
void NAME(lay)(const real *rows, real *out, const int64_t *starts, const int64_t *lengths, size segments, size longest,
               size groups, size heads, size d, size stride, int threads) {
    EACH_ROW
    for (size at = 0; at < groups * segments * heads; at++) {
        size segment = at / heads % segments, head = at / heads / segments * heads + at % heads;
        const real *source = rows + starts[segment] * stride + head * d;
        real *target = out + at * longest * d;
        size length = lengths[segment];
        for (size slot = 0; slot < length; slot++) memcpy(target + slot * d, source + slot * stride, d * sizeof(real));
        memset(target + length * d, 0, (longest - length) * d * sizeof(real));
    }
}

/* The way back; what lies beyond a segment's length is left out. */
void NAME(take)(const real *laid, real *rows, const int64_t *starts, const int64_t *lengths, size segments, size longest,
                size groups, size heads, size d, size stride, int threads) {
    EACH_ROW
    for (size at = 0; at < groups * segments * heads; at++) {
        size segment = at / heads % segments, head = at / heads / segments * heads + at % heads;
        real *target = rows + starts[segment] * stride + head * d;
        const real *source = laid + at * longest * d;
        for (size slot = 0; slot < lengths[segment]; slot++)
            memcpy(target + slot * stride, source + slot * d, d * sizeof(real));
    }
}

/* ---- softmax: scores [batch, rows * queries, keys] */

/* Row q of `queries` sees keys [lowest, highest) with, if causal, highest = offset + q + 1 and lowest = highest - window;
   else [0, lengths[b]). The scores become probabilities in place; `used`, where given, gets them after dropout. */
void NAME(softmax)(real *scores, real *used, const int64_t *lengths, size batch, size rows, size queries, size keys,
                   size offset, size window, float scale, uint32_t seed, uint32_t least, float factor, int threads) {
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
        real *line = scores + row * keys;
        float most = -3.0e38f, total = 0.0f, values[8192];
#pragma omp simd reduction(max : most)
        for (size i = low; i < high; i++) most = UP(line[i]) > most ? UP(line[i]) : most;
#pragma omp simd reduction(+ : total)
        for (size i = low; i < high; i++) {
            float value = exponential((UP(line[i]) - most) * scale);
            values[i] = value;
            total += value;
        }
        float share = 1.0f / total;
#pragma omp simd
        for (size i = 0; i < low; i++) line[i] = 0;
#pragma omp simd
        for (size i = low; i < high; i++) line[i] = DOWN(values[i] * share);
#pragma omp simd
        for (size i = high; i < keys; i++) line[i] = 0;
        if (used) {
            uint32_t place = (uint32_t)(row * keys);
#pragma omp simd
            for (size i = 0; i < keys; i++)
                used[row * keys + i] = DOWN(UP(line[i]) * kept(place + (uint32_t)i, seed, least, factor));
        }
    }
}

/* Gradients of the probabilities become those of the scores, in place. */
void NAME(softmax_back)(real *grads, const real *chances, size n, size keys, float scale, uint32_t seed, uint32_t least,
                        float factor, int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        real *g = grads + row * keys;
        const real *p = chances + row * keys;
        uint32_t place = (uint32_t)(row * keys);
        float along = 0.0f;
        if (least) {
#pragma omp simd
            for (size i = 0; i < keys; i++) g[i] = DOWN(UP(g[i]) * kept(place + (uint32_t)i, seed, least, factor));
        }
#pragma omp simd reduction(+ : along)
        for (size i = 0; i < keys; i++) along += UP(g[i]) * UP(p[i]);
#pragma omp simd
        for (size i = 0; i < keys; i++) g[i] = DOWN(UP(p[i]) * (UP(g[i]) - along) * scale);
    }
}

/* ---- cross-entropy: logits[n, v] become what flows back to them, in place; losses[n] in fp32 */

void NAME(cross_entropy)(real *logits, const int64_t *ids, const float *weights, float *losses, size n, size v, int wants,
                         int threads) {
    EACH_ROW
    for (size row = 0; row < n; row++) {
        real *line = logits + row * v;
        float most = -3.0e38f, total = 0.0f, own = UP(line[ids[row]]);
#pragma omp simd reduction(max : most)
        for (size i = 0; i < v; i++) most = UP(line[i]) > most ? UP(line[i]) : most;
        for (size start = 0; start < v; start += 4096) { /* sums of blocks keep the rounding small */
            size stop = start + 4096 < v ? start + 4096 : v;
            float part = 0.0f;
#pragma omp simd reduction(+ : part)
            for (size i = start; i < stop; i++) part += exponential(UP(line[i]) - most);
            total += part;
        }
        float lost = __builtin_logf(total) + most - own;
        losses[row] = lost;
        if (!wants) continue;
        float share = weights[row] / total;
#pragma omp simd
        for (size i = 0; i < v; i++) line[i] = DOWN(exponential(UP(line[i]) - most) * share);
        line[ids[row]] = DOWN((exponential(own - most) / total - 1.0f) * weights[row]);
    }
}
