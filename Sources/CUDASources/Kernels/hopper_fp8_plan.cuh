// Shared memory and parameters of the Hopper attention kernel with fp8 operands.

#pragma once

#include "fp8_blocks.cuh"
#include "hopper_fp8.cuh"
#include "hopper_plan.cuh"

struct Fp8Parameters {
  const fp8* keys;  // [kvHeads][blocks] of 8192 bytes
  const fp8* values;
  const fp8* columnKeys;  // [queryHeads][columnBlocks] of 8192 bytes
  const fp8* columnValues;
  const mi::KVFactors* factors;  // [kvHeads]
  int blocks, columnBlocks;
};
MI_CHECK_LAYOUT(Fp8Parameters);

namespace mi {

/// The kernel's shape; the header of attention_fp8_hopper.cu states what follows from it for
/// launches.
struct Fp8Tile {
  // Queries go on to registers at the begin of a work item, which frees their place for the next
  // ones.
  static constexpr int stages = 4, queryBuffers = 1, queueDepth = 8;
  // Stages of the other half alone that a half passes over while it keeps its last one. It asks for
  // the stage after the one it computes before it gives the last one back: kept, passed over,
  // computed and next have to find room together.
  static constexpr int mostPassed = stages - 3;
  static constexpr int producerRegisters = 72, consumerRegisters = 216;
  // log2: the running maximum moves only when a score exceeds it by more than this.
  static constexpr float slack = 1.0f;
  // log2 of the weight at the running maximum: what then is left to 448, the largest e4m3.
  static constexpr float peak = 8.807354922f - slack;
  // Stages that add up in the tensor cores, which keep 14 bits of a sum, before fp32 takes their
  // sum over.
  static constexpr int window = 32;
};

/// What the consumers need beside the queries; two in turn, because they need it until a work
/// item's end.
struct Fp8Rows {
  float scale[128];  // of a row's scores, to log2
  float bias[128];   // of a row's log-sum-exp, log2: what the keys' mean adds to its scores
  float valueMean[128];
  float valueScale;
  float pad[3];
};

/// What the query warps are asked for.
struct Fp8Ask {
  int row[2], head[2];  // row[0] below 0 for no more
};

struct Fp8Layout {
  static constexpr int stages = Fp8Tile::stages, queryBuffers = Fp8Tile::queryBuffers,
                       queueDepth = Fp8Tile::queueDepth;
  static constexpr int halfQueryBytes = fp8BlockBytes, queryBytes = 2 * halfQueryBytes;
  static constexpr int stageBytes =
      4 * fp8BlockBytes;                            // keys of two blocks, then values of two blocks
  static constexpr int values = 2 * fp8BlockBytes;  // within a stage
  static constexpr int keys = queryBuffers * queryBytes;
  static constexpr int totals = keys + stages * stageBytes;  // [half][16][128] of four floats
  static constexpr int rows = totals + 2 * 32768;
  static constexpr int info = rows + 2 * (int)sizeof(Fp8Rows) + 15 & ~15;
  static constexpr int queue = info + stages * (int)sizeof(Stage);
  static constexpr int waitingMasks = queue + queueDepth * (int)sizeof(Stage);
  static constexpr int ask = waitingMasks + 48;
  static constexpr int barriers = ask + queryBuffers * (int)sizeof(Fp8Ask) + 7 & ~7;
  static constexpr int full = barriers, empty = full + 8 * stages;
  static constexpr int asked = empty + 8 * stages, fullQueries = asked + 8 * queryBuffers;
  static constexpr int emptyQueries = fullQueries + 8 * queryBuffers;
  static constexpr int fullQueue = emptyQueries + 8 * queryBuffers,
                       emptyQueue = fullQueue + 8 * queueDepth;
  static constexpr int bytes = emptyQueue + 8 * queueDepth;
};

}  // namespace mi
