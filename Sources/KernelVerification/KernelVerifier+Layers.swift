import MInference

/// The kernels that are not attention.
extension KernelVerifier {
  mutating func checkLayers() {
    checkEmbedding()
    checkNorm()
    checkLinear()
    checkRotation()
    checkSwiGLU()
    checkSum()
    checkMerging()
    checkScoring()
    checkSampling()
  }

  private mutating func checkEmbedding() {
    for type in [DataType.float32, .float16, .bfloat16] {
      for (rows, vocabulary, hidden) in [(1, 3, 1), (5, 17, 31), (70, 100, 384)] {
        let hidden = precision.width(hidden)
        let table = numbers(vocabulary * hidden)
        let ids = (0..<rows).map { _ in Int32(random.next(below: vocabulary)) }
        check("embed \(type)", "\(rows) of \(vocabulary) x \(hidden)", tolerance: 1e-7) { side in
          let x = try side.output([rows, hidden])
          try side.backend.embed(
            ids, table: side.weight(table, [vocabulary, hidden], type: type, as: .vocabulary),
            into: x)
          return [try side.backend.read(x)]
        }
      }
    }
  }

  private mutating func checkNorm() {
    for type in [DataType.float32, .float16, .bfloat16] {
      for (rows, hidden) in [(1, 1), (3, 31), (65, 384), (2, 4096)] {
        for magnitude: Float in [1, 1e-3, 1e4] {
          let hidden = precision.width(hidden)
          let x = numbers(rows * hidden, magnitude: magnitude)
          let weight = numbers(hidden)
          check("rmsNorm \(type)", "\(rows) x \(hidden), size \(magnitude)", tolerance: 5e-6) {
            side in
            let y = try side.output([rows, hidden])
            let inPlace = try side.tensor(x, [rows, hidden])
            let weight = try side.weight(weight, [hidden], type: type, as: .norm)
            try side.backend.rmsNorm(
              side.tensor(x, [rows, hidden]), weight: weight, epsilon: 1e-5, into: y)
            try side.backend.rmsNorm(inPlace, weight: weight, epsilon: 1e-5, into: inPlace)
            return [try side.backend.read(y), try side.backend.read(inPlace)]
          }
        }
      }
    }
  }

  private mutating func checkLinear() {
    for type in [DataType.float32, .float16, .bfloat16] {
      for (rows, inputs, outputs) in [
        (1, 1, 1), (1, 384, 130), (2, 65, 33), (7, 31, 1), (64, 96, 128), (131, 130, 67),
      ] {
        for (hasBias, accumulates) in [(false, false), (true, false), (false, true), (true, true)] {
          let (inputs, outputs) = (precision.width(inputs), precision.width(outputs))
          let x = numbers(rows * inputs)
          let weight = numbers(outputs * inputs)
          let bias = numbers(outputs)
          let before = numbers(rows * outputs)
          let name =
            "\(rows) x \(inputs) to \(outputs)" + (hasBias ? ", bias" : "")
            + (accumulates ? ", added" : "")
          check("linear \(type)", name, tolerance: 1e-5) { side in
            let y = try side.output([rows, outputs])
            if accumulates { try side.backend.write(before, to: y) }
            try side.backend.linear(
              side.tensor(x, [rows, inputs]),
              weight: side.weight(weight, [outputs, inputs], type: type, as: .matrix),
              bias: hasBias ? side.weight(bias, [outputs], type: type, as: .bias) : nil, into: y,
              accumulate: accumulates)
            return [try side.backend.read(y)]
          }
        }
      }
    }
  }

  private mutating func checkRotation() {
    for layout in [RotaryEmbedding.Layout.halves, .interleaved] {
      for headDim in [64, 96, 128] {
        for (rows, heads, first, turned) in [
          (1, 1, 0, headDim), (5, 3, 131_070, headDim), (66, 2, 1, headDim / 2),
        ] {
          let x = numbers(rows * heads * headDim)
          // theta^(-2p / turned) without a power function: a geometric series from 1 to about 1e-5.
          // Dual chunk attention turns back, with negative ones.
          var frequency: Float = turned == headDim ? 1 : -1
          var frequencies: [Float] = []
          for _ in 0..<(turned / 2) {
            frequencies.append(frequency)
            frequency *= 0.75
          }
          let rotary = RotaryEmbedding(
            inverseFrequencies: frequencies, attentionScaling: turned == headDim ? 1 : 1.25,
            layout: layout)
          let name = "\(rows) x \(heads) x \(headDim), \(turned) turned, from \(first)"
          check("rotate \(layout)", name, tolerance: 2e-6) { side in
            let x = try side.tensor(x, [rows, heads, headDim])
            try side.backend.rotate(x, rotary, firstPosition: first)
            return [try side.backend.read(x)]
          }
        }
      }
    }
  }

  private mutating func checkSwiGLU() {
    for (rows, width) in [(1, 1), (3, 31), (65, 1024)] {
      for magnitude: Float in [1, 40] {
        let width = precision.width(width)
        let gate = numbers(rows * width, magnitude: magnitude)
        let up = numbers(rows * width)
        check("swiGLU", "\(rows) x \(width), size \(magnitude)", tolerance: 2e-6) { side in
          let gate = try side.tensor(gate, [rows, width])
          try side.backend.swiGLU(gate: gate, up: side.tensor(up, [rows, width]))
          return [try side.backend.read(gate)]
        }
      }
    }
  }

  private mutating func checkScoring() {
    for (rows, vocabulary) in [(1, 1), (3, 31), (65, 8192), (2, 152_064)] {
      let logits = numbers(rows * vocabulary, magnitude: 4)
      let next = (0..<rows).map { Int32($0 % 5 == 4 ? -1 : random.next(below: vocabulary)) }
      check("scoreTokens", "\(rows) of \(vocabulary)", tolerance: 1e-6) { side in
        let scores = try side.backend.scoreTokens(
          logits: side.tensor(logits, [rows, vocabulary], .float32), next: next)
        // Ids as numbers: another one is a miss.
        return [scores.likeliest.map(Float.init), scores.logProbabilities]
      }
      // Near distributions, as those of two readings of a text are: their divergence is small beside
      // the terms that it is the sum of.
      for distance: Float in [0.03, 1] {
        let moved = zip(logits, numbers(rows * vocabulary, magnitude: distance)).map { $0 + $1 }
        check("divergences", "\(rows) of \(vocabulary), \(distance) apart", tolerance: 1e-3) {
          side in
          [
            try side.backend.divergences(
              of: side.tensor(moved, [rows, vocabulary], .float32),
              from: side.tensor(logits, [rows, vocabulary], .float32))
          ]
        }
      }
    }
  }

  /// Rows of activations by a list, some repeated.
  mutating func checkGathering() {
    for (rows, count, width) in [(1, 1, 1), (17, 5, 31), (100, 201, 384)] {
      let width = precision.width(width)
      let x = numbers(rows * width)
      let list = (0..<count).map { _ in Int32(random.next(below: rows)) }
      check("gatherRows", "\(count) of \(rows) x \(width)", tolerance: 1e-9) { side in
        let y = try side.output([count, width])
        try side.backend.gatherRows(side.tensor(x, [rows, width]), rows: list, into: y)
        return [try side.backend.read(y)]
      }
      check("gatherRows", "\(count) of \(rows) x 12, float32", tolerance: 1e-9) { side in
        let sums = Array(repeating: x, count: 12).joined().prefix(rows * 12)
        let y = try side.output([count, 12], .float32)
        try side.backend.gatherRows(
          side.tensor(Array(sums), [rows, 12], .float32), rows: list, into: y)
        return [try side.backend.read(y)]
      }
    }
  }

  private mutating func checkSum() {
    for (rows, width) in [(1, 1), (3, 31), (65, 1024)] {
      let x = numbers(rows * width)
      let y = numbers(rows * width, magnitude: 40)
      check("add", "\(rows) x \(width)", tolerance: 1e-7) { side in
        let sum = try side.tensor(y, [rows, width])
        try side.backend.add(side.tensor(x, [rows, width]), to: sum)
        return [try side.backend.read(sum)]
      }
    }
  }

  /// Some rows have no keys on one side or on either.
  private mutating func checkMerging() {
    for (rows, heads, headDim) in [(1, 1, 64), (67, 3, 96)] {
      let count = rows * heads
      let (a, b) = (numbers(count * headDim), numbers(count * headDim))
      func sums(_ empty: Int) -> [Float] {
        numbers(count, magnitude: 20).enumerated().map { $0 % 7 < empty ? -.infinity : $1 }
      }
      let (x, y) = (sums(2), sums(1))
      check("mergeAttention", "\(rows) x \(heads) x \(headDim)", tolerance: 1e-5) { side in
        let o = try side.tensor(b, [rows, heads, headDim])
        let whole = try side.tensor(y, [rows, heads], .float32)
        try side.backend.mergeAttention(
          side.tensor(a, [rows, heads, headDim]),
          logSumExp: side.tensor(x, [rows, heads], .float32),
          into: o, logSumExp: whole)
        // Infinities do not compare by a difference.
        let finite = try side.backend.read(whole).map { $0.isInfinite ? 0 : $0 }
        return [try side.backend.read(o), finite]
      }
    }
  }
}
