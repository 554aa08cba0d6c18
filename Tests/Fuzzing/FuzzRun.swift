import TemporaryCheckpoints
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Mutated inputs of one kind, one after the other.
struct FuzzRun {
  let name: String
  let mutation: Mutation
  let rounds: Int
  private var generator: FuzzGenerator

  /// - Parameter rounds: Inputs that are tried unless the environment says otherwise.
  init(_ name: String, _ mutation: Mutation, rounds: Int) {
    self.name = name
    self.mutation = mutation
    self.rounds = Self.number("MINFERENCE_FUZZ_ROUNDS") ?? rounds
    // Each kind has a sequence of its own.
    let salt = name.utf8.reduce(UInt64(17)) { $0 &* 31 &+ UInt64($1) }
    generator = FuzzGenerator(state: UInt64(Self.number("MINFERENCE_FUZZ_SEED") ?? 1) &+ salt)
  }

  /// Gives every input to `body`, which reads it or throws what the reader threw.
  ///
  /// - Returns: Inputs that were read, and inputs that were refused.
  mutating func run(
    _ body: ([UInt8]) throws -> Void
  ) throws -> (accepted: Int, refused: Int) {
    var (accepted, refused) = (0, 0)
    for _ in 0..<rounds {
      let input = mutation.make(using: &generator)
      Self.keep(input, name)
      let start = ContinuousClock.now
      do {
        try body(input)
        accepted += 1
      } catch let error as FuzzFailure {
        throw error
      } catch {
        refused += 1
        check(error, input)
      }
      let elapsed = ContinuousClock.now - start
      if elapsed > .seconds(20) {
        Issue.record("\(name): \(elapsed) for \(Self.shown(input))")
      }
    }
    return (accepted, refused)
  }

  /// One short line of printable characters.
  private func check(_ error: any Error, _ input: [UInt8]) {
    let text = "\(error)"
    let isPrintable = text.unicodeScalars.allSatisfy { scalar in
      switch scalar.properties.generalCategory {
      case .control, .lineSeparator, .paragraphSeparator: false
      default: true
      }
    }
    if text.isEmpty || text.utf8.count > 4000 || !isPrintable {
      Issue.record("\(name): \(text.prefix(300)) for \(Self.shown(input))")
    }
  }

  /// What a failure shows of an input.
  private static func shown(_ input: [UInt8]) -> String {
    String(decoding: input.prefix(400), as: UTF8.self).debugDescription
  }

  private static func keep(_ input: [UInt8], _ name: String) {
    guard let directory = getenv("MINFERENCE_FUZZ_KEEP").map({ String(cString: $0) }),
      let file = fopen(directory + "/" + name, "wb")
    else { return }
    fwrite(input, 1, input.count, file)
    fclose(file)
  }

  private static func number(_ variable: String) -> Int? {
    getenv(variable).flatMap { Int(String(cString: $0)) }
  }
}

/// What a reader did wrong with an input, as opposed to an input that it refused.
struct FuzzFailure: Error {
  let what: String
}

/// SplitMix64: the same numbers everywhere.
struct FuzzGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
