import Compute
import Files
import MInference
import TemporaryCheckpoints
import Testing
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

@Suite struct SegmentFileTests {
  let directory: TemporaryDirectory

  init() throws { directory = try TemporaryDirectory() }

  private let layout = SegmentLayout(
    KeyValueExtents(type: .float8, heads: 2, headDim: 4), layers: 3, positions: 10,
    blockBytes: 4 * 16)

  private var trailer: SegmentTrailer {
    SegmentTrailer(
      key: "0123456789abcdef", identity: 77, parent: 5, start: 40, sequenceLength: 48,
      secondsPerToken: 0.25,
      tokens: Array(60..<68), factors: (0..<12).map { Float($0) + 0.5 },
      checksums: (0..<9).map { UInt64($0) << 50 })
  }

  private var blocks: [UInt8] { (0..<3 * 10 * 16).map { UInt8($0 % 251) } }

  private func file(_ bytes: [UInt8]) throws -> SegmentFile? {
    try directory.write(bytes, to: "file")
    return SegmentFile(path: directory.path("file"))
  }

  @Test func `blocks follow each other layer by layer`() {
    #expect(layout.blockPositions == 4 && layout.blockCount == 9)
    #expect(layout.blockByteCount == 64)
    var end = SegmentLayout.headByteCount
    for index in 0..<9 {
      let range = layout.byteRange(ofBlock: index)
      #expect(range.lowerBound == end && layout.layer(ofBlock: index) == index / 3)
      #expect(range.count == layout.positions(ofBlock: index).count * 16)
      end = range.upperBound
    }
    #expect(end == layout.blocksEnd)
    #expect((0..<3).map { layout.positions(ofBlock: 3 + $0) } == [0..<4, 4..<8, 8..<10])
  }

  @Test func `a file comes back as it was, and a changed one is none`() throws {
    let bytes = layout.head + blocks + trailer.bytes(layout)
    let found = try #require(try file(bytes))
    #expect(found.layout == layout && found.trailer == trailer)
    #expect(found.trailer.end == 48)
    // The blocks have checksums of their own.
    var other = bytes
    other[SegmentLayout.headByteCount + 20] ^= 1
    #expect(try file(other)?.trailer == trailer)
    // Of the head the first bytes and some zeros; all of the trailer.
    let checked = Array(0..<50) + [2000, 4095] + Array(layout.blocksEnd..<bytes.count)
    for index in checked {
      other = bytes
      other[index] ^= 0x10
      #expect(try file(other) == nil, "byte \(index)")
    }
    for count in [0, 100, 4096, layout.blocksEnd, bytes.count - 1] {
      #expect(try file(Array(bytes[..<count])) == nil)
    }
    #expect(try file(bytes + [0]) == nil)
  }

  @Test func `blocks come in order, and a damaged one in its turn`() throws {
    let bytes = blocks
    try directory.write(bytes, to: "blocks")
    let reader = try FileReader(path: directory.path("blocks"))
    let pool = try StagingPool(
      count: 3, byteCount: 64, on: ReferenceBackend(), purpose: "a test")
    let ranges = (0..<7).map { $0 * 64..<$0 * 64 + 64 - $0 }
    var requests = ranges.enumerated().map { number, range in
      BlockReader.Request(
        file: reader, bytes: range,
        checksum: Array(bytes[range]).withUnsafeBytes {
          BlockChecksum.of($0, seed: UInt64(number))
        }, seed: UInt64(number))
    }
    requests.append(BlockReader.Request(file: reader, bytes: 0..<64, checksum: 1, seed: 1))
    let blocks = try BlockReader(requests, threads: 3, pool: pool)
    #expect(pool.take() == nil)
    for range in ranges {
      guard case .block(let memory) = blocks.next(waiting: 60) else {
        Issue.record("no block \(range)")
        return
      }
      #expect(
        Array(UnsafeRawBufferPointer(start: memory.start, count: range.count))
          == Array(bytes[range]))
      blocks.giveBack(memory)
    }
    guard case .damaged = blocks.next(waiting: 60) else {
      Issue.record("a wrong checksum was not seen")
      return
    }
    blocks.end()
    // Threads give back what they have in hand.
    var count = 0
    for _ in 0..<2000 where count < 3 {
      if pool.take() != nil { count += 1 } else { usleep(1000) }
    }
    #expect(count == 3)
  }
}
