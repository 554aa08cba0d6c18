// Where the fields of the structs lie that Swift fills and kernels read, each stated once and checked on both
// sides when they are compiled: here against the struct of the kernels, in sources.c against the struct of
// CUDASources.h. A field is given as FIELD(struct, name in the kernels, name in CUDASources.h, offset).
#ifndef MI_LAYOUTS_CUH
#define MI_LAYOUTS_CUH

#ifdef __CUDACC_RTC__
// NVRTC 13.0 does not know __builtin_offsetof; this is the operator of its own front end.
#define MI_OFFSET(type, field) __INTADDR__(&((type*)0)->field)
#else
#define MI_OFFSET(type, field) __builtin_offsetof(type, field)
#endif

#define MI_KERNEL_FIELD(type, kernel, host, offset) \
  static_assert(MI_OFFSET(type, kernel) == offset, #type "." #kernel " is not where Swift writes it");

/// Checks a kernels' struct against its layout.
#define MI_CHECK_LAYOUT(type)         \
  MI_LAYOUT_##type(MI_KERNEL_FIELD, type) \
  static_assert(sizeof(type) == MI_SIZE_##type, #type " has another size in Swift")

#define MI_SIZE_HeadPlan 64
#define MI_LAYOUT_HeadPlan(FIELD, type) \
  FIELD(type, kind, kind, 0) \
  FIELD(type, stepCount, step_count, 4) \
  FIELD(type, steps, steps, 8) \
  FIELD(type, stepOffsets, step_offsets, 16) \
  FIELD(type, starts, starts, 24) \
  FIELD(type, columns, columns, 32) \
  FIELD(type, columnCount, column_count, 40) \
  FIELD(type, denseFrom, dense_from, 44)

#define MI_SIZE_HeadBudget 16
#define MI_LAYOUT_HeadBudget(FIELD, type) \
  FIELD(type, vertical, vertical, 0) \
  FIELD(type, slash, slash, 4) \
  FIELD(type, wanted, wanted, 8) \
  FIELD(type, share, share, 12)

#define MI_SIZE_FixedBands 32
#define MI_LAYOUT_FixedBands(FIELD, type) \
  FIELD(type, wanted, wanted, 0) \
  FIELD(type, rangeStart, range_start, 4) \
  FIELD(type, rangeCount, range_count, 8) \
  FIELD(type, columnStart, column_start, 12) \
  FIELD(type, columnCount, column_count, 16) \
  FIELD(type, denseFrom, dense_from, 20)

#define MI_SIZE_AttentionParameters 104
#define MI_LAYOUT_AttentionParameters(FIELD, type) \
  FIELD(type, q, q, 0) \
  FIELD(type, o, o, 8) \
  FIELD(type, logSumExp, log_sum_exp, 16) \
  FIELD(type, k, k, 24) \
  FIELD(type, v, v, 32) \
  FIELD(type, kvHeadStride, kv_head_stride, 40) \
  FIELD(type, heads, heads, 48) \
  FIELD(type, rows, rows, 56) \
  FIELD(type, firstPosition, first_position, 60) \
  FIELD(type, planFirstPosition, plan_first_position, 64) \
  FIELD(type, qStride, q_stride, 68) \
  FIELD(type, oStride, o_stride, 72) \
  FIELD(type, queryHeads, query_heads, 76) \
  FIELD(type, groupSize, group_size, 80) \
  FIELD(type, window, window, 84) \
  FIELD(type, scaleLog2, scale_log2, 88) \
  FIELD(type, firstKey, first_key, 92) \
  FIELD(type, endKey, end_key, 96)

#define MI_SIZE_EstimationParameters 120
#define MI_LAYOUT_EstimationParameters(FIELD, type) \
  FIELD(type, q, q, 0) \
  FIELD(type, k, k, 8) \
  FIELD(type, budgets, budgets, 16) \
  FIELD(type, partial, partial, 24) \
  FIELD(type, vertical, vertical, 32) \
  FIELD(type, slash, slash, 40) \
  FIELD(type, logSumExp, log_sum_exp, 48) \
  FIELD(type, sinks, sinks, 56) \
  FIELD(type, kvHeadStride, kv_head_stride, 64) \
  FIELD(type, sumStride, sum_stride, 72) \
  FIELD(type, rows, rows, 80) \
  FIELD(type, firstPosition, first_position, 84) \
  FIELD(type, qStride, q_stride, 88) \
  FIELD(type, queryHeads, query_heads, 92) \
  FIELD(type, groupSize, group_size, 96) \
  FIELD(type, window, window, 100) \
  FIELD(type, splits, splits, 104) \
  FIELD(type, keysPerSplit, keys_per_split, 108) \
  FIELD(type, scaleLog2, scale_log2, 112)

#define MI_SIZE_SelectionParameters 88
#define MI_LAYOUT_SelectionParameters(FIELD, type) \
  FIELD(type, vertical, vertical, 0) \
  FIELD(type, slash, slash, 8) \
  FIELD(type, budgets, budgets, 16) \
  FIELD(type, columns, columns, 24) \
  FIELD(type, offsets, offsets, 32) \
  FIELD(type, counts, counts, 40) \
  FIELD(type, sumStride, sum_stride, 48) \
  FIELD(type, keys, keys, 56) \
  FIELD(type, maximumColumns, maximum_columns, 60) \
  FIELD(type, maximumOffsets, maximum_offsets, 64) \
  FIELD(type, forcedColumns, forced_columns, 68) \
  FIELD(type, forcedOffsets, forced_offsets, 72) \
  FIELD(type, massUnit, mass_unit, 76) \
  FIELD(type, hasSinks, has_sinks, 80)

#define MI_SIZE_PlanParameters 128
#define MI_LAYOUT_PlanParameters(FIELD, type) \
  FIELD(type, plans, plans, 0) \
  FIELD(type, pairs, pairs, 8) \
  FIELD(type, bands, bands, 16) \
  FIELD(type, starts, starts, 24) \
  FIELD(type, steps, steps, 32) \
  FIELD(type, columns, columns, 40) \
  FIELD(type, offsets, offsets, 48) \
  FIELD(type, counts, counts, 56) \
  FIELD(type, budgets, budgets, 64) \
  FIELD(type, fixed, fixed, 72) \
  FIELD(type, ranges, ranges, 80) \
  FIELD(type, bandsStride, bands_stride, 88) \
  FIELD(type, startsStride, starts_stride, 92) \
  FIELD(type, maximumColumns, maximum_columns, 96) \
  FIELD(type, maximumOffsets, maximum_offsets, 100) \
  FIELD(type, rows, rows, 104) \
  FIELD(type, firstPosition, first_position, 108) \
  FIELD(type, window, window, 112) \
  FIELD(type, columnCost, column_cost, 116) \
  FIELD(type, exact, exact, 120) \
  FIELD(type, aligned, aligned, 124)

#define MI_SIZE_BlockHead 8
#define MI_LAYOUT_BlockHead(FIELD, type) \
  FIELD(type, head, head, 0) \
  FIELD(type, topK, top_k, 4)

#define MI_SIZE_BlockParameters 152
#define MI_LAYOUT_BlockParameters(FIELD, type) \
  FIELD(type, queries, queries, 0) \
  FIELD(type, keys, keys, 8) \
  FIELD(type, scores, scores, 16) \
  FIELD(type, heads, heads, 24) \
  FIELD(type, rooms, rooms, 32) \
  FIELD(type, stepCounts, step_counts, 40) \
  FIELD(type, work, work, 48) \
  FIELD(type, steps, steps, 56) \
  FIELD(type, stepOffsets, step_offsets, 64) \
  FIELD(type, plans, plans, 72) \
  FIELD(type, pairCounts, pair_counts, 80) \
  FIELD(type, queryBlocks, query_blocks, 88) \
  FIELD(type, keyBlocks, key_blocks, 92) \
  FIELD(type, scoreStride, score_stride, 96) \
  FIELD(type, pairs, pairs, 100) \
  FIELD(type, slabPair, slab_pair, 104) \
  FIELD(type, slabPairs, slab_pairs, 108) \
  FIELD(type, rows, rows, 112) \
  FIELD(type, firstPosition, first_position, 116) \
  FIELD(type, headDim, head_dim, 120) \
  FIELD(type, groupSize, group_size, 124) \
  FIELD(type, topK, top_k, 128) \
  FIELD(type, window, window, 132) \
  FIELD(type, tileCost, tile_cost, 136) \
  FIELD(type, runCost, run_cost, 140) \
  FIELD(type, exact, exact, 144)

#define MI_SIZE_ShareHead 32
#define MI_LAYOUT_ShareHead(FIELD, type) \
  FIELD(type, head, head, 0) \
  FIELD(type, share, share, 4) \
  FIELD(type, floor, floor, 8) \
  FIELD(type, cap, cap, 12) \
  FIELD(type, hasColumns, has_columns, 16) \
  FIELD(type, denseFrom, dense_from, 20) \
  FIELD(type, least, least, 24) \
  FIELD(type, bandDistance, band_distance, 28)

#define MI_SIZE_ShareParameters 224
#define MI_LAYOUT_ShareParameters(FIELD, type) \
  FIELD(type, q, q, 0) \
  FIELD(type, k, k, 8) \
  FIELD(type, heads, heads, 16) \
  FIELD(type, sums, sums, 24) \
  FIELD(type, maxima, maxima, 32) \
  FIELD(type, bits, bits, 40) \
  FIELD(type, work, work, 48) \
  FIELD(type, stepCounts, step_counts, 56) \
  FIELD(type, steps, steps, 64) \
  FIELD(type, stepOffsets, step_offsets, 72) \
  FIELD(type, columns, columns, 80) \
  FIELD(type, columnCounts, column_counts, 88) \
  FIELD(type, plans, plans, 96) \
  FIELD(type, pairCounts, pair_counts, 104) \
  FIELD(type, kvHeadStride, kv_head_stride, 112) \
  FIELD(type, partRows, part_rows, 120) \
  FIELD(type, partPosition, part_position, 124) \
  FIELD(type, firstPosition, first_position, 128) \
  FIELD(type, rows, rows, 132) \
  FIELD(type, partGroups, part_groups, 136) \
  FIELD(type, sumStride, sum_stride, 140) \
  FIELD(type, maximumStride, maximum_stride, 144) \
  FIELD(type, words, words, 148) \
  FIELD(type, chunkBlocks, chunk_blocks, 152) \
  FIELD(type, stepCapacity, step_capacity, 156) \
  FIELD(type, columnStride, column_stride, 160) \
  FIELD(type, qStride, q_stride, 164) \
  FIELD(type, groupSize, group_size, 168) \
  FIELD(type, stride, stride, 172) \
  FIELD(type, queryStride, query_stride, 176) \
  FIELD(type, window, window, 180) \
  FIELD(type, scaleLog2, scale_log2, 184) \
  FIELD(type, tileCost, tile_cost, 188) \
  FIELD(type, runCost, run_cost, 192) \
  FIELD(type, columnCost, column_cost, 196) \
  FIELD(type, exact, exact, 200) \
  FIELD(type, takesBands, takes_bands, 208) \
  FIELD(type, sinks, sinks, 216)

#define MI_SIZE_BandChoiceParameters 88
#define MI_LAYOUT_BandChoiceParameters(FIELD, type) \
  FIELD(type, heads, heads, 0) \
  FIELD(type, sums, sums, 8) \
  FIELD(type, maxima, maxima, 16) \
  FIELD(type, lastShares, last_shares, 24) \
  FIELD(type, columnSums, column_sums, 32) \
  FIELD(type, takesBands, takes_bands, 40) \
  FIELD(type, columnSumStride, column_sum_stride, 48) \
  FIELD(type, keys, keys, 56) \
  FIELD(type, keyBlocks, key_blocks, 60) \
  FIELD(type, partBlocks, part_blocks, 64) \
  FIELD(type, sumStride, sum_stride, 68) \
  FIELD(type, maximumStride, maximum_stride, 72) \
  FIELD(type, firstRow, first_row, 76) \
  FIELD(type, window, window, 80)

#define MI_SIZE_PooledScoreParameters 80
#define MI_LAYOUT_PooledScoreParameters(FIELD, type) \
  FIELD(type, queries, queries, 0) \
  FIELD(type, keys, keys, 8) \
  FIELD(type, heads, heads, 16) \
  FIELD(type, sums, sums, 24) \
  FIELD(type, maxima, maxima, 32) \
  FIELD(type, partBlock, part_block, 40) \
  FIELD(type, partBlocks, part_blocks, 44) \
  FIELD(type, keyBlocks, key_blocks, 48) \
  FIELD(type, sumStride, sum_stride, 52) \
  FIELD(type, maximumStride, maximum_stride, 56) \
  FIELD(type, headDim, head_dim, 60) \
  FIELD(type, groupSize, group_size, 64) \
  FIELD(type, window, window, 68) \
  FIELD(type, scaleLog2, scale_log2, 72)

#define MI_SIZE_HopperParameters 16
#define MI_LAYOUT_HopperParameters(FIELD, type) \
  FIELD(type, counter, counter, 0) \
  FIELD(type, pairHeads, pair_heads, 8)

#define MI_SIZE_Fp8Parameters 48
#define MI_LAYOUT_Fp8Parameters(FIELD, type) \
  FIELD(type, keys, keys, 0) \
  FIELD(type, values, values, 8) \
  FIELD(type, columnKeys, column_keys, 16) \
  FIELD(type, columnValues, column_values, 24) \
  FIELD(type, factors, factors, 32) \
  FIELD(type, blocks, blocks, 40) \
  FIELD(type, columnBlocks, column_blocks, 44)

#define MI_SIZE_SequenceRow 40
#define MI_LAYOUT_SequenceRow(FIELD, type) \
  FIELD(type, k, k, 0) \
  FIELD(type, v, v, 8) \
  FIELD(type, keyScales, key_scales, 16) \
  FIELD(type, valueScales, value_scales, 24) \
  FIELD(type, kvHeadStride, kv_head_stride, 32)

#define MI_SIZE_RowAttentionParameters 136
#define MI_LAYOUT_RowAttentionParameters(FIELD, type) \
  FIELD(type, q, q, 0) \
  FIELD(type, o, o, 8) \
  FIELD(type, logSumExp, log_sum_exp, 16) \
  FIELD(type, k, k, 24) \
  FIELD(type, v, v, 32) \
  FIELD(type, keyScales, key_scales, 40) \
  FIELD(type, valueScales, value_scales, 48) \
  FIELD(type, positions, positions, 56) \
  FIELD(type, workspace, workspace, 64) \
  FIELD(type, counters, counters, 72) \
  FIELD(type, kvHeadStride, kv_head_stride, 80) \
  FIELD(type, rows, rows, 88) \
  FIELD(type, qStride, q_stride, 92) \
  FIELD(type, oStride, o_stride, 96) \
  FIELD(type, queryHeads, query_heads, 100) \
  FIELD(type, groupSize, group_size, 104) \
  FIELD(type, splits, splits, 108) \
  FIELD(type, keys, keys, 112) \
  FIELD(type, window, window, 116) \
  FIELD(type, scaleLog2, scale_log2, 120) \
  FIELD(type, sequences, sequences, 128)

#define MI_SIZE_DecodingHeads 104
#define MI_LAYOUT_DecodingHeads(FIELD, type) \
  FIELD(type, q, q, 0) \
  FIELD(type, k, k, 8) \
  FIELD(type, v, v, 16) \
  FIELD(type, qNorm, q_norm, 24) \
  FIELD(type, kNorm, k_norm, 32) \
  FIELD(type, inverseFrequencies, inverse_frequencies, 40) \
  FIELD(type, sequences, sequences, 48) \
  FIELD(type, positions, positions, 56) \
  FIELD(type, rows, rows, 64) \
  FIELD(type, queryHeads, query_heads, 68) \
  FIELD(type, kvHeads, kv_heads, 72) \
  FIELD(type, headDim, head_dim, 76) \
  FIELD(type, pairs, pairs, 80) \
  FIELD(type, isInterleaved, is_interleaved, 84) \
  FIELD(type, isFp8, is_fp8, 88) \
  FIELD(type, attentionScaling, attention_scaling, 92) \
  FIELD(type, epsilon, epsilon, 96)

#define MI_SIZE_DecodingMatrix 56
#define MI_LAYOUT_DecodingMatrix(FIELD, type) \
  FIELD(type, weight, weight, 0) \
  FIELD(type, scales, scales, 8) \
  FIELD(type, bias, bias, 16) \
  FIELD(type, y, y, 24) \
  FIELD(type, outputs, outputs, 32) \
  FIELD(type, scaleRows, scale_rows, 36) \
  FIELD(type, scaleColumns, scale_columns, 40) \
  FIELD(type, scalesAcross, scales_across, 44) \
  FIELD(type, firstRow, first_row, 48) \
  FIELD(type, role, role, 52)

#define MI_SIZE_DecodingProduct 216
#define MI_LAYOUT_DecodingProduct(FIELD, type) \
  FIELD(type, x, x, 0) \
  FIELD(type, norm, norm, 8) \
  FIELD(type, matrices, matrices, 16) \
  FIELD(type, rows, rows, 184) \
  FIELD(type, inputs, inputs, 188) \
  FIELD(type, isGated, is_gated, 192) \
  FIELD(type, isWide, is_wide, 196) \
  FIELD(type, accumulate, accumulate, 200) \
  FIELD(type, parts, parts, 204) \
  FIELD(type, epsilon, epsilon, 208)

#define MI_SIZE_DecodingExperts 104
#define MI_LAYOUT_DecodingExperts(FIELD, type) \
  FIELD(type, x, x, 0) \
  FIELD(type, norm, norm, 8) \
  FIELD(type, weight, weight, 16) \
  FIELD(type, up, up, 24) \
  FIELD(type, scales, scales, 32) \
  FIELD(type, upScales, up_scales, 40) \
  FIELD(type, experts, experts, 48) \
  FIELD(type, sources, sources, 56) \
  FIELD(type, places, places, 64) \
  FIELD(type, factors, factors, 72) \
  FIELD(type, y, y, 80) \
  FIELD(type, perRow, per_row, 88) \
  FIELD(type, inputs, inputs, 92) \
  FIELD(type, outputs, outputs, 96) \
  FIELD(type, epsilon, epsilon, 100)

#define MI_SIZE_ExpertRule 28
#define MI_LAYOUT_ExpertRule(FIELD, type) \
  FIELD(type, experts, experts, 0) \
  FIELD(type, perRow, per_row, 4) \
  FIELD(type, isSigmoid, is_sigmoid, 8) \
  FIELD(type, groups, groups, 12) \
  FIELD(type, chosenGroups, chosen_groups, 16) \
  FIELD(type, normalizes, normalizes, 20) \
  FIELD(type, scaling, scaling, 24)

#define MI_SIZE_ExpertProduct 104
#define MI_LAYOUT_ExpertProduct(FIELD, type) \
  FIELD(type, x, x, 0) \
  FIELD(type, weight, weight, 8) \
  FIELD(type, up, up, 16) \
  FIELD(type, y, y, 24) \
  FIELD(type, offsets, offsets, 32) \
  FIELD(type, xScales, x_scales, 40) \
  FIELD(type, weightScales, weight_scales, 48) \
  FIELD(type, upScales, up_scales, 56) \
  FIELD(type, bias, bias, 64) \
  FIELD(type, upBias, up_bias, 72) \
  FIELD(type, experts, experts, 80) \
  FIELD(type, outputs, outputs, 84) \
  FIELD(type, inputs, inputs, 88) \
  FIELD(type, alpha, alpha, 92) \
  FIELD(type, limit, limit, 96)

#endif
