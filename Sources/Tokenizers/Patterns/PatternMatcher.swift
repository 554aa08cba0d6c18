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
  /// The steps of one attempt before failed choices are marked: a fixed number, and a number for each scalar.
  private static let freeSteps = 4_096
  private static let freeStepsPerScalar = 32

  private struct Choice {
    /// Where to continue, or the run that may end elsewhere.
    var instruction: Int32
    var isRun: Bool
    /// Where to continue, or where the run ends now.
    var position: Int
    /// The last end of the run to try: its lowest if greedy, its highest untried one if lazy.
    var last: Int
    /// All ends of the run.
    var low = 0
    var high = 0
    /// The depth of the marks when the choice was made.
    var trail: Int
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
  private var marks = ChoiceMarks()
  private var isMarking: Bool { marks.areKept }
  /// By row of marks; filled once marking has begun.
  private var runs: [LongRuns] = []

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
    marks.end()
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
    if isMarking { marks.settle(from: 0, succeeded: end >= 0, isInLook: false) }
    if end > start, !isMarking { allowedSteps += Self.freeStepsPerScalar * (end - start) }
    return end >= 0 ? end : nil
  }

  private static let failed = -1
  private static let exhausted = -2

  private mutating func beginMarking() {
    marks.begin(rows: program.choiceCount, places: count + 1)
    runs = [LongRuns](repeating: LongRuns(), count: program.choiceCount)
    allowedSteps = .max
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
        switch marks[Int(code.choice), position] {
        case ChoiceMarks.Mark.untried: marks.enter(Int(code.choice), position)
        case ChoiceMarks.Mark.failed: fails = true
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
            let highest =
              code.high == .max
              ? runs[Int(code.choice)].untriedEnd(from: position, low: Int(code.low), end: end)
              : end
            stack.append(
              Choice(
                instruction: Int32(next), isRun: true, position: isGreedy ? highest + 1 : low - 1,
                last: isGreedy ? low : highest, low: low, high: end, trail: marks.depth))
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
                trail: marks.depth))
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
      if isMarking { marks.fail(to: choice.trail) }
      let instruction = Int(choice.instruction)
      guard choice.isRun else {
        stack.removeLast()
        return (instruction, choice.position)
      }
      let code = tables.code[instruction]
      let isLazy = code.operation == .lazyRun
      if isLazy ? choice.position >= choice.last : choice.position <= choice.last {
        stack.removeLast()
        if isMarking, code.high == .max {
          runs[Int(code.choice)].noteFailedEnds(choice.low...choice.high)
        }
        continue
      }
      let position = choice.position + (isLazy ? 1 : -1)
      stack[top].position = position
      if isMarking {
        // The second row is about ends of runs, whichever run they end.
        if marks[Int(code.choice) + 1, position] == ChoiceMarks.Mark.failed { continue }
        marks.enter(Int(code.choice) + 1, position)
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
    if isMarking, code.high == .max {
      let classes = UnsafePointer(classes)
      return runs[Int(code.choice)].end(from: position, count: count) {
        tables.contains(code.set, classes[$0])
      }
    }
    let limit = code.high == .max ? count : min(count, position + Int(code.high))
    var end = position
    while end < limit, tables.contains(code.set, classes[end]) { end += 1 }
    steps += (end - position) >> 3
    return end
  }

  /// Whether the body of a look matches; nil when marking has to begin.
  private mutating func look(
    _ tables: Tables, _ instruction: Int, _ code: PatternProgram.Instruction, at position: Int
  ) -> Bool? {
    let row = Int(code.choice)
    if isMarking {
      switch marks[row, position] {
      case ChoiceMarks.Mark.failed: return false
      case ChoiceMarks.Mark.succeeded: return true
      default: break
      }
    }
    let begin = position - Int(code.low)
    guard begin >= 0 else { return false }
    let base = marks.depth
    let end = run(tables, from: instruction + 1, at: begin)
    if end == Self.exhausted { return nil }
    if isMarking {
      marks.settle(from: base, succeeded: end >= 0, isInLook: true)
      marks[row, position] = end >= 0 ? ChoiceMarks.Mark.succeeded : ChoiceMarks.Mark.failed
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
