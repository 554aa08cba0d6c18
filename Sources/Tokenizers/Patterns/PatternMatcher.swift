#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Finds the matches of a program in one text, as a backtracking engine does, in time linear in the text.
///
/// The alternatives are tried in order, each choice on a stack. Ordinary expressions hardly ever go back. Where an
/// expression does so often, the matcher begins to mark which choices have failed at which place; a choice
/// that has failed once fails at that place for ever, whatever led to it, since nothing in these
/// expressions refers to what was matched before. So every choice is made at most once at each place.
/// Source: the memoization of Davis et al., "Using Selective Memoization to Defeat Regular Expression
/// Denial of Service" (IEEE S&P 2021), section V.
///
/// Each encoding call has its own.
struct PatternMatcher: ~Copyable {
  /// What one attempt may take before failed choices are marked: so many steps, and so many for each scalar.
  private static let freeSteps = 4_096
  private static let freeStepsPerScalar = 32

  private struct Choice {
    /// Where to go on, or the run that may end elsewhere.
    var instruction: Int32
    var isRun: Bool
    /// Where to go on, or where the run ends now.
    var position: Int
    /// Where the run may end at last: its lowest end if greedy, its highest untried one if lazy.
    var last: Int
    /// All ends of the run.
    var low = 0
    var high = 0
    /// How many marks were on the way when the choice was made.
    var trail: Int
  }

  /// What a run instruction without bound knows about the long runs of its set.
  private struct RunMemory {
    static let block = 16
    /// By block of places: the end of the run in which the block's first place lies; 0 where not known.
    var ends: [Int32] = []
    /// By the block in which a run of at least a block ends: from where on its ends have failed, plus one.
    var failedFrom: [Int32] = []
  }

  private let program: PatternProgram
  private let marksFromStart: Bool
  private let endClass: UInt8
  private var classes: UnsafeMutablePointer<UInt8>
  private var capacity: Int
  private var count = 0

  private var stack: [Choice] = []
  private var steps = 0
  private var allowedSteps = 0
  /// Two bits for each choice and place, once marking has begun: failed, and succeeded within a look.
  private var marks: UnsafeMutablePointer<UInt64>?
  private var isMarking: Bool { marks != nil }
  private var wordsOfRow = 0
  private var trail: [(row: Int, position: Int)] = []
  private var runs: [RunMemory] = []

  /// - Parameter marksFromStart: whether failed choices are marked from the beginning on.
  init(_ program: PatternProgram, marksFromStart: Bool) {
    self.program = program
    self.marksFromStart = marksFromStart
    endClass = UInt8(program.partition.count)
    capacity = 1024
    classes = .allocate(capacity: capacity + 1)
  }

  deinit {
    classes.deallocate()
    free(marks)
  }

  /// Calls `body` with the byte range of every match in `range` of well-formed UTF-8, left to right. The text
  /// around the range is not looked at.
  mutating func forEachMatch(
    in bytes: UnsafePointer<UInt8>, _ range: Range<Int>, _ body: (Range<Int>) -> Void
  ) {
    guard mayMatch(in: bytes, range) else { return }
    load(bytes, range)
    var byte = range.lowerBound
    var scalar = 0
    func advance(to target: Int) {
      while scalar < target {
        byte += UTF8Bytes.length(lead: bytes[byte])
        scalar += 1
      }
    }
    var start = 0
    var lastEnd = -1
    let length = count
    let program = program
    program.instructions.withUnsafeBufferPointer { instructions in
      program.partition.membership.withUnsafeBufferPointer { membership in
        guard let code = instructions.baseAddress else { return }
        let tables = Tables(code: code, membership: membership.baseAddress)
        while start <= length {
          if program.first >= 0 {
            while start < length, !tables.contains(program.first, classes[start]) { start += 1 }
            if start == length { return }
          }
          guard let end = match(tables, at: start) else {
            start += 1
            continue
          }
          if end == start {
            // An empty match just after another is none.
            if end != lastEnd {
              advance(to: start)
              body(byte..<byte)
            }
            lastEnd = end
            start += 1
            continue
          }
          advance(to: start)
          let from = byte
          advance(to: end)
          body(from..<byte)
          lastEnd = end
          start = end
        }
      }
    }
  }

  /// Whether some match may begin in the range. Of an expression that is one of several to cut by, most
  /// pieces hold nothing.
  private func mayMatch(in bytes: UnsafePointer<UInt8>, _ range: Range<Int>) -> Bool {
    guard program.first >= 0 else { return true }
    return program.firstBytes.withUnsafeBufferPointer { firstBytes in
      guard let isFirst = firstBytes.baseAddress else { return true }
      var byte = range.lowerBound
      while byte < range.upperBound, !isFirst[Int(bytes[byte])] { byte += 1 }
      return byte < range.upperBound
    }
  }

  private mutating func load(_ bytes: UnsafePointer<UInt8>, _ range: Range<Int>) {
    if range.count > capacity {
      classes.deallocate()
      capacity = max(range.count, capacity * 2)
      classes = .allocate(capacity: capacity + 1)
    }
    count = program.partition.classify(bytes, range, into: classes)
    classes[count] = endClass
    steps = 0
    allowedSteps = Self.freeSteps
    free(marks)
    marks = nil
    trail.removeAll(keepingCapacity: true)
    if marksFromStart { beginMarking() }
  }

  /// Instructions and sets without bounds checks, for the length of one call.
  private struct Tables {
    let code: UnsafePointer<PatternProgram.Instruction>
    let membership: UnsafePointer<Bool>?

    @inline(__always)
    func contains(_ set: Int32, _ scalarClass: UInt8) -> Bool {
      membership.unsafelyUnwrapped[Int(set) << 8 | Int(scalarClass)]
    }

    @inline(__always)
    func admits(_ set: Int32, _ scalarClass: UInt8) -> Bool {
      set < 0 || contains(set, scalarClass)
    }
  }

  /// The end of the match that begins at `start`.
  private mutating func match(_ tables: Tables, at start: Int) -> Int? {
    stack.removeAll(keepingCapacity: true)
    if !isMarking { allowedSteps += Self.freeStepsPerScalar }
    var end = run(tables, from: 0, at: start)
    if end == Self.exhausted {
      beginMarking()
      stack.removeAll(keepingCapacity: true)
      end = run(tables, from: 0, at: start)
    }
    if marks != nil { settle(from: 0, succeeded: end >= 0, isInLook: false) }
    if end > start, !isMarking { allowedSteps += Self.freeStepsPerScalar * (end - start) }
    return end >= 0 ? end : nil
  }

  private static let failed = -1
  private static let exhausted = -2

  // MARK: Marks

  private mutating func beginMarking() {
    wordsOfRow = (count + 1 + 31) / 32
    let words = wordsOfRow * max(1, program.choiceCount)
    // Pages that no choice touches are never backed by memory.
    marks = calloc(words, MemoryLayout<UInt64>.stride)?.assumingMemoryBound(to: UInt64.self)
    runs = [RunMemory](repeating: RunMemory(), count: program.choiceCount)
    allowedSteps = .max
  }

  /// 0 for a choice not yet made here, 1 for one that is being made or has failed, 2 for one that succeeds.
  @inline(__always)
  private func mark(_ row: Int, _ position: Int) -> UInt64 {
    guard let marks else { return 0 }
    return marks[row * wordsOfRow + position >> 5] >> UInt64((position & 31) * 2) & 3
  }

  @inline(__always)
  private mutating func setMark(_ row: Int, _ position: Int, _ value: UInt64) {
    guard let marks else { return }
    let shift = UInt64((position & 31) * 2)
    let word = row * wordsOfRow + position >> 5
    marks[word] = marks[word] & ~(3 << shift) | value << shift
  }

  /// Marks a choice as being made; it is so until it is settled.
  @inline(__always)
  private mutating func enter(_ row: Int, _ position: Int) {
    setMark(row, position, 1)
    trail.append((row, position))
  }

  /// What led to a success has not failed, and within a look it will succeed again.
  private mutating func settle(from base: Int, succeeded: Bool, isInLook: Bool) {
    if succeeded {
      for entry in trail[base...] { setMark(entry.row, entry.position, isInLook ? 2 : 0) }
    }
    trail.removeSubrange(base...)
  }

  // MARK: The machine

  /// Runs from an instruction until `accept`.
  ///
  /// - Returns: the position there, `failed`, or `exhausted` when marking has to begin.
  private mutating func run(_ tables: Tables, from instruction: Int, at start: Int) -> Int {
    let classes = UnsafePointer(classes)
    let base = stack.count
    var next = instruction
    var position = start

    while true {
      steps += 1
      if steps > allowedSteps { return Self.exhausted }
      let code = tables.code[next]
      var fails = false
      if isMarking, code.choice >= 0, code.operation != .look, code.operation != .notLook {
        switch mark(Int(code.choice), position) {
        case 0: enter(Int(code.choice), position)
        case 1: fails = true
        default:
          // Within a look: from here it succeeds.
          stack.removeSubrange(base...)
          return position
        }
      }
      if !fails {
        switch code.operation {
        case .set:
          fails = !tables.contains(code.set, classes[position])
          position += 1
          next += 1

        case .greedyRun, .lazyRun, .possessiveRun:
          let low = position + Int(code.low)
          let end = endOfRun(tables, code, from: position)
          if end < low {
            fails = true
          } else if code.operation == .possessiveRun {
            position = end
            next += 1
          } else if isMarking {
            // The first end is chosen as the further ones are.
            let isGreedy = code.operation == .greedyRun
            let highest = untriedEnd(code, from: position, end: end)
            stack.append(
              Choice(
                instruction: Int32(next), isRun: true, position: isGreedy ? highest + 1 : low - 1,
                last: isGreedy ? low : highest, low: low, high: end, trail: trail.count))
            fails = true
          } else {
            let isGreedy = code.operation == .greedyRun
            position = isGreedy ? end : low
            if low < end {
              stack.append(
                Choice(
                  instruction: Int32(next), isRun: true, position: position,
                  last: isGreedy ? low : end, trail: 0))
            }
            next += 1
          }

        case .split:
          let scalarClass = classes[position]
          let takesTarget = tables.admits(code.firstOfTarget, scalarClass)
          let takesOther = tables.admits(code.firstOfOther, scalarClass)
          if takesTarget, takesOther {
            stack.append(
              Choice(
                instruction: code.other, isRun: false, position: position, last: 0,
                trail: trail.count))
          }
          fails = !takesTarget && !takesOther
          next = Int(takesTarget ? code.target : code.other)

        case .jump: next = Int(code.target)

        case .look, .notLook:
          guard let holds = look(tables, next, code, at: position) else { return Self.exhausted }
          fails = holds != (code.operation == .look)
          next = Int(code.target)

        case .anchor:
          fails = !holds(tables, Int(code.low), at: position)
          next += 1

        case .accept:
          stack.removeSubrange(base...)
          return position
        }
      }
      if fails {
        guard let choice = lastChoice(tables, above: base) else { return Self.failed }
        (next, position) = choice
      }
    }
  }

  /// Goes back to the last choice that has something left.
  private mutating func lastChoice(
    _ tables: Tables, above base: Int
  ) -> (instruction: Int, position: Int)? {
    while stack.count > base {
      steps += 1
      let top = stack.count - 1
      let choice = stack[top]
      if isMarking { trail.removeSubrange(choice.trail...) }
      let instruction = Int(choice.instruction)
      guard choice.isRun else {
        stack.removeLast()
        return (instruction, choice.position)
      }
      let code = tables.code[instruction]
      let isLazy = code.operation == .lazyRun
      if isLazy ? choice.position >= choice.last : choice.position <= choice.last {
        stack.removeLast()
        if isMarking { noteFailedEnds(code, choice.low...choice.high) }
        continue
      }
      let position = choice.position + (isLazy ? 1 : -1)
      stack[top].position = position
      if isMarking {
        // The second row is about ends of runs, whichever run they end.
        if mark(Int(code.choice) + 1, position) == 1 { continue }
        enter(Int(code.choice) + 1, position)
      }
      return (instruction + 1, position)
    }
    return nil
  }

  // MARK: Runs

  /// The end of the longest run from `position`.
  @inline(__always)
  private mutating func endOfRun(
    _ tables: Tables, _ code: PatternProgram.Instruction, from position: Int
  ) -> Int {
    if isMarking, code.high == .max { return rememberedEndOfRun(tables, code, from: position) }
    let limit = code.high == .max ? count : min(count, position + Int(code.high))
    var end = position
    while end < limit, tables.contains(code.set, classes[end]) { end += 1 }
    steps += (end - position) >> 3
    return end
  }

  /// The same, looking at each place about once over all calls.
  private mutating func rememberedEndOfRun(
    _ tables: Tables, _ code: PatternProgram.Instruction, from position: Int
  ) -> Int {
    let row = Int(code.choice)
    if runs[row].ends.isEmpty {
      let blocks = count / RunMemory.block + 1
      runs[row].ends = [Int32](repeating: 0, count: blocks)
      runs[row].failedFrom = [Int32](repeating: 0, count: blocks)
    }
    var end = position
    while end < count, tables.contains(code.set, classes[end]) {
      if end % RunMemory.block == 0, runs[row].ends[end / RunMemory.block] > 0 {
        end = Int(runs[row].ends[end / RunMemory.block])
        break
      }
      end += 1
    }
    var block = (position + RunMemory.block - 1) / RunMemory.block
    while block * RunMemory.block < end, runs[row].ends[block] == 0 {
      runs[row].ends[block] = Int32(truncatingIfNeeded: end)
      block += 1
    }
    return end
  }

  /// The last end of a run that has not been seen to fail, or one before the first end.
  private func untriedEnd(
    _ code: PatternProgram.Instruction, from position: Int, end: Int
  ) -> Int {
    guard code.high == .max, end - position >= RunMemory.block else { return end }
    let failedFrom = Int(runs[Int(code.choice)].failedFrom[end / RunMemory.block])
    return failedFrom == 0 ? end : max(position + Int(code.low) - 1, min(end, failedFrom - 2))
  }

  /// Remembers that these ends of a run have failed: so they will for one that begins further right.
  private mutating func noteFailedEnds(
    _ code: PatternProgram.Instruction, _ ends: ClosedRange<Int>
  ) {
    guard code.high == .max, ends.count > RunMemory.block else { return }
    let block = ends.upperBound / RunMemory.block
    let known = runs[Int(code.choice)].failedFrom[block]
    if known == 0 || Int(known) > ends.lowerBound + 1 {
      runs[Int(code.choice)].failedFrom[block] = Int32(truncatingIfNeeded: ends.lowerBound + 1)
    }
  }

  /// Whether the body of a look matches; nil when marking has to begin.
  private mutating func look(
    _ tables: Tables, _ instruction: Int, _ code: PatternProgram.Instruction, at position: Int
  ) -> Bool? {
    let row = Int(code.choice)
    if isMarking {
      switch mark(row, position) {
      case 1: return false
      case 2: return true
      default: break
      }
    }
    let begin = position - Int(code.low)
    guard begin >= 0 else { return false }
    let base = trail.count
    let end = run(tables, from: instruction + 1, at: begin)
    if end == Self.exhausted { return nil }
    if isMarking {
      settle(from: base, succeeded: end >= 0, isInLook: true)
      setMark(row, position, end >= 0 ? 2 : 1)
    }
    return end >= 0
  }

  private func holds(_ tables: Tables, _ anchor: Int, at position: Int) -> Bool {
    func isLineBreak(_ index: Int) -> Bool {
      tables.contains(program.lineBreak, classes[index])
    }
    func isWord(_ index: Int) -> Bool {
      index >= 0 && index < count && tables.contains(program.word, classes[index])
    }
    switch anchor {
    case 0: return position == 0
    case 1: return position == count
    case 2: return position == count || position == count - 1 && isLineBreak(position)
    case 3: return position == 0 || position < count && isLineBreak(position - 1)
    case 4: return position == count || isLineBreak(position)
    case 5: return isWord(position - 1) != isWord(position)
    default: return isWord(position - 1) == isWord(position)
    }
  }
}
