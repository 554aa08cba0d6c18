import Compute
import ComputeCPU
import Testing

@Suite struct `Keys and values in memory of several sequences` {
  private let backend = Result { try CPUBackend(threads: 2) }
  private let layers = 3
  private let heads = 2

  private func store(
    _ capacity: Int, headDim: Int = 48, type: DataType = .float32, _ sharing: KeyValueSharing
  ) throws -> any KeyValueStore {
    try backend.get().makeKeyValueStore(
      layers: layers, extents: [heads, capacity, headDim], options: KeyValueOptions(type: type),
      sharing: sharing)
  }

  /// Rows of a sequence in all layers and heads: a position's numbers are `numbers[position]` and what tells apart the
  /// layer, the head, and keys and values.
  private func write(_ numbers: [Float], from first: Int, to store: any KeyValueStore) throws {
    let count = numbers.count - first
    guard count > 0 else { return }
    for layer in 0..<layers {
      let opened = try store.open(
        layer: layer, kept: first, count: numbers.count, for: .prefill)
      let dim = opened.keys.shape[2]
      func rows(_ part: Int) throws -> Tensor {
        try backend.get().tensor(
          (0..<count * heads * dim).map {
            numbers[first + $0 / (heads * dim)] + mark(layer, part, $0 / dim % heads)
          }, [count, heads, dim])
      }
      try backend.get().store(k: rows(0), v: rows(1), in: opened, firstPosition: first)
      try store.close(layer: layer, kept: first, count: numbers.count)
    }
  }

  /// Small integers and halves: bfloat16 holds them.
  private func mark(_ layer: Int, _ part: Int, _ head: Int) -> Float {
    Float(layer * 4 + part * 2 + head) / 16
  }

  /// Whether a store holds these numbers.
  private func holds(_ store: any KeyValueStore, _ numbers: [Float]) throws -> Bool {
    for layer in 0..<layers {
      let opened = try store.open(
        layer: layer, kept: numbers.count, count: numbers.count, for: .transfer)
      for (part, tensor) in [opened.keys, opened.values].enumerated() {
        let (stride, dim) = (tensor.shape[1], tensor.shape[2])
        let all = tensor.reshaped([heads * stride, dim])
        for head in 0..<heads {
          let found = try backend.get().read(
            all.slice(rows: head * stride..<head * stride + numbers.count))
          for (index, value) in found.enumerated()
          where value != numbers[index / dim] + mark(layer, part, head) { return false }
        }
      }
      try store.close(layer: layer, kept: numbers.count, count: numbers.count)
    }
    return true
  }

  private func numbers(_ count: Int, _ random: inout RandomNumbers) -> [Float] {
    (0..<count).map { _ in Float(Int.random(in: -8...7, using: &random)) }
  }

  @Test(.enabled(if: CPUBackend.sharesKeyValues))
  func `sequences that begin, branch, go on and end in any order keep their numbers`() throws {
    var random = RandomNumbers(seed: 71)
    for (headDim, type) in [(48, DataType.float32), (64, .bfloat16), (80, .float32)] {
      var known: [(store: any KeyValueStore, numbers: [Float])] = []
      var shared = 0
      for _ in 0..<24 {
        switch Int.random(in: 0..<4, using: &random) {
        case 0 where known.count > 2:
          known.remove(at: Int.random(in: 0..<known.count, using: &random))
        case 1 where !known.isEmpty:
          // Goes on, or forgets its end and goes on otherwise.
          let index = Int.random(in: 0..<known.count, using: &random)
          let store = known[index].store
          let kept = Int.random(
            in: store.sharedCount...known[index].numbers.count, using: &random)
          let end = Int.random(in: kept...store.capacity, using: &random)
          known[index].numbers =
            known[index].numbers.prefix(kept) + numbers(end - kept, &random)
          try write(known[index].numbers, from: kept, to: store)
        default:
          let source = known.randomElement(using: &random)
          let common = source.map { Int.random(in: 0...$0.numbers.count, using: &random) } ?? 0
          let count = source?.store.shareable(common) ?? 0
          let capacity = Int.random(in: max(1200, common)...4000, using: &random)
          let store = try store(
            capacity, headDim: headDim, type: type,
            source.flatMap { count > 0 ? .beginning($0.store, count: count) : nil }
              ?? .possible(common: 0))
          let own = Int.random(in: 0...capacity - common, using: &random)
          let all = (source?.numbers.prefix(common) ?? []) + numbers(own, &random)
          try write(Array(all), from: count, to: store)
          if count > 0 {
            shared += 1
            #expect(store.sharedCount >= count && source?.store.sharedCount ?? 0 >= count)
          }
          known.append((store, Array(all)))
        }
        for (store, numbers) in known { #expect(try holds(store, numbers)) }
      }
      #expect(shared > 2)
    }
  }

  @Test(.enabled(if: CPUBackend.sharesKeyValues))
  func `pieces are counted once, and are a sequence's own again when the other has gone`() throws {
    var random = RandomNumbers(seed: 73)
    var first: (any KeyValueStore)? = try store(4000, .possible(common: 3000))
    let all = numbers(3000, &random)
    try write(all, from: 0, to: try #require(first))
    let count = try #require(first?.shareable(2900))
    #expect(count > 2400 && count <= 2900 && first?.shareable(10) == 0)
    let second = try store(3600, .beginning(try #require(first), count: count))
    let pieces = Set((first?.memory ?? []).map(ObjectIdentifier.init))
    let common = second.memory.filter { pieces.contains(ObjectIdentifier($0)) }
    let bytesPerPosition = layers * 2 * heads * 48 * 4
    #expect(common.reduce(0) { $0 + $1.byteCount } == count * bytesPerPosition)
    #expect(second.byteCount == second.memory.reduce(0) { $0 + $1.byteCount })
    #expect(second.byteCount >= 3600 * bytesPerPosition)
    #expect(first?.sharedCount == count && second.sharedCount == count)
    first = nil
    #expect(second.sharedCount == 0)
    #expect(try holds(second, Array(all[..<count])))
  }

  @Test func `what cannot be shared is refused, or is in memory of its own`() throws {
    let plain = try store(4000, .none)
    #expect(plain.shareable(4000) == 0 && plain.sharedCount == 0 && plain.memory.count == 1)
    #expect(throws: ComputeError.self) { try store(4000, .beginning(plain, count: 0)) }
    let short = try store(20, .possible(common: 20))
    #expect(short.shareable(20) == 0)
    guard CPUBackend.sharesKeyValues else { return }
    let long = try store(4000, .possible(common: 3000))
    let count = long.shareable(4000)
    // No end of a piece; fewer positions than are shared; other rows.
    #expect(throws: ComputeError.self) { try store(4000, .beginning(long, count: count - 1)) }
    #expect(throws: ComputeError.self) { try store(1000, .beginning(long, count: count)) }
    #expect(throws: ComputeError.self) {
      try store(5000, headDim: 64, .beginning(long, count: count))
    }
    #expect(throws: ComputeError.self) {
      try store(5000, type: .bfloat16, .beginning(long, count: count))
    }
  }
}
