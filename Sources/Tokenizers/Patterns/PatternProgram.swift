/// An expression as instructions over classes of scalars.
struct PatternProgram: Sendable {
  enum Operation: UInt8, Sendable {
    /// One scalar of `set`.
    case set
    /// From `low` to `high` scalars of `set`, as many as possible first.
    case greedyRun
    /// As few as possible first.
    case lazyRun
    /// As many as possible and nothing else.
    case possessiveRun
    /// `target` first, then `other`; each only where its first scalar fits.
    case split
    case jump
    /// The body follows; `target` is what comes after it. `low` is how far it begins before the position.
    case look
    case notLook
    case anchor
    /// The end of the expression or of a body.
    case accept
  }

  struct Instruction: Sendable {
    var operation: Operation
    var set: Int32 = 0
    var low: Int32 = 0
    /// `Int32.max` is without bound.
    var high: Int32 = 0
    var target: Int32 = 0
    var other: Int32 = 0
    /// Sets of first scalars of `target` and `other`; -1 where any will do.
    var firstOfTarget: Int32 = -1
    var firstOfOther: Int32 = -1
    /// The row of marks of a choice; runs have a second one for their ends.
    var choice: Int32 = -1
    /// Whether it belongs to the body of a look.
    var isInLook = false
  }

  /// The most instructions of a program.
  static let largestCount = 8_000

  private(set) var instructions: [Instruction] = []
  /// Rows of marks that a matcher needs.
  private(set) var choiceCount = 0
  let partition: ScalarPartition
  /// The set of scalars that a match may begin with; -1 where it may be empty.
  private(set) var first: Int32 = -1
  /// By byte: whether the scalars that a match may begin with have one whose first byte it is.
  let firstBytes: [Bool]
  /// The set `\w`, for word boundaries, and the line break, for ends of lines.
  let word: Int32
  let lineBreak: Int32

  /// - Throws: `SplitExpressionError` where the program grows past its limits.
  init(_ node: PatternNode) throws(SplitExpressionError) {
    var builder = Builder()
    try builder.append(node, followedBy: nil)
    builder.instructions.append(Instruction(operation: .accept))
    if !node.isNullable { first = builder.index(of: node.firstScalars) }
    firstBytes = node.isNullable ? [] : node.firstScalars.firstBytes
    word = builder.needsWord ? builder.index(of: ScalarProperties.word) : -1
    lineBreak = builder.needsLineBreak ? builder.index(of: ScalarSet(0x0A)) : -1
    instructions = builder.instructions
    choiceCount = builder.choiceCount
    partition = try ScalarPartition(builder.sets)
  }

  init(_ expression: String, dialect: ExpressionDialect) throws(SplitExpressionError) {
    try self.init(PatternParser.parse(expression, dialect: dialect))
  }

  private struct Builder {
    var instructions: [Instruction] = []
    var choiceCount = 0
    var needsWord = false
    var needsLineBreak = false
    var sets: [ScalarSet] = []
    private var numbers: [ScalarSet: Int32] = [:]
    private var isInLook = false

    mutating func index(of set: ScalarSet) -> Int32 {
      if let known = numbers[set] { return known }
      sets.append(set)
      numbers[set] = Int32(sets.count - 1)
      return Int32(sets.count - 1)
    }

    /// The set of first scalars, or -1 for what may match nothing.
    private mutating func firstIndex(of node: PatternNode?) -> Int32 {
      guard let node, !node.isNullable else { return -1 }
      return index(of: node.firstScalars)
    }

    private mutating func emit(_ instruction: Instruction) throws(SplitExpressionError) {
      guard instructions.count < largestCount else {
        throw SplitExpressionError(problem: "becomes more than \(largestCount) instructions")
      }
      var instruction = instruction
      instruction.isInLook = isInLook
      instructions.append(instruction)
    }

    private mutating func choices(_ count: Int) -> Int32 {
      defer { choiceCount += count }
      return Int32(choiceCount)
    }

    /// - Parameter next: what follows in the same sequence, to see which scalars a way out may begin with.
    mutating func append(
      _ node: PatternNode, followedBy next: PatternNode?
    ) throws(SplitExpressionError) {
      switch node {
      case .set(let set): try emit(Instruction(operation: .set, set: index(of: set)))
      case .sequence(let nodes):
        for (position, part) in nodes.enumerated() {
          try append(part, followedBy: position + 1 < nodes.count ? nodes[position + 1] : next)
        }
      case .alternatives(let parts): try appendAlternatives(parts, next)
      case .repeated(let body, let minimum, let maximum, let preference):
        if case .set(let set) = body {
          let operation: Operation =
            switch preference {
            case .greedy: .greedyRun
            case .lazy: .lazyRun
            case .possessive: .possessiveRun
            }
          try emit(
            Instruction(
              operation: operation, set: index(of: set), low: Int32(minimum),
              high: maximum.map { Int32($0) } ?? .max, choice: choices(2)))
        } else {
          try appendRepeated(body, minimum, maximum, isLazy: preference == .lazy, next)
        }
      case .look(let body, let isBehind, let isNegative):
        try appendLook(body, isBehind: isBehind, isNegative: isNegative)
      case .anchor(let anchor):
        switch anchor {
        case .textStart, .textEnd: break
        case .wordBoundary, .noWordBoundary: needsWord = true
        case .textEndOrLastLineBreak, .lineStart, .lineEnd: needsLineBreak = true
        }
        try emit(Instruction(operation: .anchor, low: Int32(anchor.code)))
      }
    }

    private mutating func appendAlternatives(
      _ parts: [PatternNode], _ next: PatternNode?
    ) throws(SplitExpressionError) {
      // By part: what it and all after it may begin with, or -1.
      var firsts: [Int32] = []
      var first: ScalarSet? = ScalarSet()
      for part in parts.reversed() {
        first = part.isNullable ? nil : first?.union(part.firstScalars)
        firsts.append(first.map { index(of: $0) } ?? -1)
      }
      firsts.reverse()
      var jumps: [Int] = []
      for (position, part) in parts.enumerated() {
        guard position + 1 < parts.count else {
          try append(part, followedBy: next)
          break
        }
        let split = instructions.count
        try emit(
          Instruction(
            operation: .split, firstOfTarget: firstIndex(of: part),
            firstOfOther: firsts[position + 1], choice: choices(1)))
        instructions[split].target = Int32(instructions.count)
        try append(part, followedBy: next)
        jumps.append(instructions.count)
        try emit(Instruction(operation: .jump))
        instructions[split].other = Int32(instructions.count)
      }
      for jump in jumps { instructions[jump].target = Int32(instructions.count) }
    }

    private mutating func appendRepeated(
      _ body: PatternNode, _ minimum: Int, _ maximum: Int?, isLazy: Bool, _ next: PatternNode?
    ) throws(SplitExpressionError) {
      for _ in 0..<minimum { try append(body, followedBy: nil) }
      func split(_ builder: inout Builder) throws(SplitExpressionError) -> Int {
        let split = builder.instructions.count
        let bodyFirst = builder.firstIndex(of: body)
        let nextFirst = maximum == nil ? builder.firstIndex(of: next) : -1
        try builder.emit(
          Instruction(
            operation: .split, firstOfTarget: isLazy ? nextFirst : bodyFirst,
            firstOfOther: isLazy ? bodyFirst : nextFirst, choice: builder.choices(1)))
        return split
      }
      func connect(_ builder: inout Builder, _ split: Int, end: Int) {
        if isLazy {
          builder.instructions[split].target = Int32(end)
          builder.instructions[split].other = Int32(split + 1)
        } else {
          builder.instructions[split].target = Int32(split + 1)
          builder.instructions[split].other = Int32(end)
        }
      }
      guard let maximum else {
        let loop = try split(&self)
        try append(body, followedBy: nil)
        try emit(Instruction(operation: .jump, target: Int32(loop)))
        return connect(&self, loop, end: instructions.count)
      }
      var splits: [Int] = []
      for _ in minimum..<maximum {
        splits.append(try split(&self))
        try append(body, followedBy: nil)
      }
      for split in splits { connect(&self, split, end: instructions.count) }
    }

    private mutating func appendLook(
      _ body: PatternNode, isBehind: Bool, isNegative: Bool
    ) throws(SplitExpressionError) {
      // Alternatives behind may differ in length: `(?<=a|bc)` is `(?:(?<=a)|(?<=bc))`.
      if isBehind, body.fixedLength == nil, case .alternatives(let parts) = body {
        let looks = parts.map { PatternNode.look($0, behind: true, negative: isNegative) }
        return try append(isNegative ? .sequence(looks) : .alternatives(looks), followedBy: nil)
      }
      let look = instructions.count
      try emit(
        Instruction(
          operation: isNegative ? .notLook : .look,
          low: Int32(isBehind ? body.fixedLength ?? 0 : 0), choice: choices(1)))
      let outer = isInLook
      isInLook = true
      try append(body, followedBy: nil)
      try emit(Instruction(operation: .accept))
      isInLook = outer
      instructions[look].target = Int32(instructions.count)
    }
  }
}

extension PatternNode.Anchor {
  /// Its number in an instruction.
  var code: Int {
    switch self {
    case .textStart: 0
    case .textEnd: 1
    case .textEndOrLastLineBreak: 2
    case .lineStart: 3
    case .lineEnd: 4
    case .wordBoundary: 5
    case .noWordBoundary: 6
    }
  }
}
