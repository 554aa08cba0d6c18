import KernelVerification
import MInference
import Testing

@Suite struct KernelVerifierTests {
  /// The reference is slow on purpose, and without optimisation slower than anybody waits.
  static let isOptimised: Bool = {
    var isOptimised = true
    assert(
      {
        isOptimised = false; return true
      }())
    return isOptimised
  }()

  @Test(.enabled(if: isOptimised, "only in release: the reference is too slow in debug builds"))
  func `every kernel of the CPU backend agrees with the reference`() throws {
    for (name, backend) in try Device.cpu.variants(threads: 2) {
      let checks = KernelVerifier.verify(backend)
      #expect(checks.count >= 20)
      for check in checks {
        #expect(
          check.passed, "\(name), \(check.kernel): \(check.worst), \(check.worstCase)")
      }
    }
  }

  @Test(.enabled(if: isOptimised, "only in release: the reference is too slow in debug builds"))
  func `a backend that is wrong in one number, or leaves one out, is found`() {
    for fault in FaultyBackend.Fault.allCases {
      // The cheapest name that the fault shows in; "attention" alone is a third of all work.
      let prefix =
        [.attention, .window].contains(fault) ? "attention float32" : fault.rawValue
      let checks = KernelVerifier.verify(FaultyBackend(fault), prefix: prefix)
        // Another operation's name may begin like that of the fault.
        .filter {
          $0.kernel.split(separator: " ")[0] == prefix.split(separator: " ")[0]
            && !$0.kernel.hasSuffix("by expert")
        }
      #expect(!checks.isEmpty && checks.allSatisfy { !$0.passed }, "\(fault)")
    }
  }

  @Test(.enabled(if: isOptimised, "only in release: the reference is too slow in debug builds"))
  func `a device's block-sparse index passes if it is the host's, and no other does`() {
    for mistake in IndexBuilder.Mistake.ofBlockSparse {
      let checks = KernelVerifier.verifyBlockIndices(IndexBuilder(mistake), isThorough: false)
      let misses = checks.filter { !$0.passed }
      // Four comparisons in each of three chunks; three in the two that a planner does not make dense.
      #expect(checks.count == 2 && checks.map(\.cases) == [12, 6])
      #expect(
        misses.isEmpty == (mistake == .none),
        "\(mistake): \(checks.map { "\($0.worst) \($0.worstCase)" })")
    }
  }

  @Test(.enabled(if: isOptimised, "only in release: the reference is too slow in debug builds"))
  func `a device's choice of bands or blocks passes if it is the host's, and no other does`() {
    for mistake in IndexBuilder.Mistake.ofAlternatives {
      let checks = KernelVerifier.verifyBandAlternatives(IndexBuilder(mistake), isThorough: false)
      #expect(checks.count == 1 && checks.map(\.cases) == [2])
      #expect(
        checks.allSatisfy { $0.passed } == (mistake == .none),
        "\(mistake): \(checks.map { "\($0.worst) \($0.worstCase)" })")
    }
  }

  @Test(.enabled(if: isOptimised, "only in release: the reference is too slow in debug builds"))
  func `a few cases of each kernel are checked if no more are wanted, and they find what is wrong`()
    throws
  {
    let backend = try Device.cpu.makeBackend(threads: 2)
    let few = KernelVerifier.verify(backend, cases: 2)
    #expect(few.count >= 20)
    for check in few { #expect(check.passed && (1...2).contains(check.cases), "\(check.kernel)") }
    // One of three cases is the middle one, and the case with the name that it has among all.
    let one = KernelVerifier.verify(backend, prefix: "meanPooled", cases: 1)
    #expect(one.last?.kernel == "meanPooled" && one.last?.worstCase == "65 x 6 x 96 by 64")
    let wrong = KernelVerifier.verify(FaultyBackend(.attention), prefix: "attention", cases: 2)
    #expect(!wrong.isEmpty && wrong.allSatisfy { !$0.passed })
  }

  @Test func `errors are relative to the largest value, and NaN is never small`() {
    #expect(KernelCheck.relativeError([1, 2], [1, 2]) == 0)
    #expect(KernelCheck.relativeError([1, 2.5], [1, 2]) == 0.25)
    #expect(KernelCheck.relativeError([-.infinity, 2], [-.infinity, 2]) == 0)
    for wrong in [Float.nan, .infinity, -.infinity] {
      #expect(KernelCheck.relativeError([wrong, 2], [1, 2]) == .infinity)
    }
    #expect(KernelCheck.relativeError([1], [-.infinity]) == .infinity)
    #expect(KernelCheck.relativeError([1], [1, 2]) == .infinity)
  }
}
