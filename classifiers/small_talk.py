"""Small talk: sentences about the weather, the week-end and how one is, before or after what is asked.

They say nothing of how hard the work is, and yet they would move its score. English only: in other languages they stay
and are scored with the rest.
"""

import re

_CHARS = 320  # a longer sentence is no small talk
_CHATTY = 0.7  # of the words that say anything
_SHORT = 3  # letters; words no longer than this say nothing here

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_EXACT = re.compile(r"[0-9$\\={}<>`^|_]")  # nobody chats in formulas
# Somebody speaks of themselves or to somebody. An I with a mark behind it is an option to choose.
_PERSON = re.compile(
    r"\b(?:I(?![.):])|(?-i:i)|i['’]?(?:m|ve|ll|d)|we|my|our|me|you|your|yours|ya|(?-i:us|u|ur)|"  # noqa: RUF001
    r"(?:we|you|he|she|it|that|they)['’](?:s|ve|re|ll|d))\b",  # noqa: RUF001
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"(?:(?:oh|ah|well|and|so|ok|okay|right|anyways?),? )?(?:hi+|he+y+|hello+|hiya|howdy|yo|greetings|dear|"
    r"good (?:morning|afternoon|evening|day|night)|morning|afternoon|evening|happy|merry|welcome|cheers|thanks?|thx|"
    r"many thanks|sorry|apologies|hope|hoping|wish|wishing|looking forward|long time|lovely|glad|what an? |have an? |"
    r"take care|all the best|(?:best|kind|warm)(?: regards|,)|regards|sincerely|yours|bye|goodbye|see you|talk soon|"
    r"no (?:rush|hurry|worries)|anyways?|alright|right|okay|ok|so|phew|ugh|lol|haha\w*|wow|gosh|p\.?s\.?|btw|"
    r"by the way)\b",
    re.IGNORECASE,
)
# A question that nobody wants answered with work.
_HOW_ARE_YOU = re.compile(
    r"(?:how(?:['’]s| is| are| was| were| have| has| r| do you do)|what['’]?s up|what is up|are you|did you|"  # noqa: RUF001
    r"do you|have you|isn['’]t it|don['’]t you|can you believe|how about|hope|you know|is it|was it|remember)\b",  # noqa: RUF001
    re.IGNORECASE,
)
# Whoever says one of these beside wants something done.
_WANTS = re.compile(
    r"\b(?:please|pls|can (?:you|u)(?! believe)|could (?:you|u)|would you|will you|"
    r"how (?:to|do i|can i|should i|would i|many|much)|"
    r"what (?:is|are|does|do|should|would|can|if)|which|why (?:is|are|do|does|did)|explain|write|"
    r"translate|summari[sz]e|compute|calculate|design|implement|prove|derive|describe|compare|convert|debug|draft|analy[sz]e|define|"
    r"recommend|suggest|rewrite|shorten|proofread|list)\b",
    re.IGNORECASE,
)

_WORDS = frozenset(
    """
        hello there hiya everyone everybody folks friend friends buddy mate team dear morning afternoon evening night
        tonight today yesterday tomorrow week weeks weekend weekends month months year years days hours minutes monday
        tuesday wednesday thursday friday saturday sunday january february march april june july august september
        october november december spring summer autumn fall winter season christmas easter holiday holidays vacation
        birthday anniversary party parties wedding festival concert weather rain rained raining rainy sunny sunshine
        snow snowed snowing snowy cold colder warm warmer freezing chilly cloudy clouds storm stormy thunder windy wind
        heat boiling drizzle drizzling grey gray outside umbrella hope hoping hopefully trust wish wishing wishes well
        good great fine nice lovely wonderful amazing beautiful gorgeous awesome fantastic brilliant cool sweet cute
        funny weird strange crazy silly ridiculous terrible awful horrible rough chaotic quiet calm peaceful cozy cosy
        happy happier glad pleased delighted excited grateful thankful proud relieved tired exhausted sleepy knackered
        bored hungry thirsty sick stressed nervous worried lonely grumpy cranky moody miserable lazy busy hectic late
        early slow long short ages forever thanks thank appreciate appreciated cheers sorry apologies apologise
        apologize bother bothering bothered disturb disturbing interrupt excuse pardon forgive patience patient rush
        hurry worries worry luck welcome regards sincerely respectfully warmly yours bless goodbye take care best soon
        feel feels feeling felt mood hear heard hearing listen seen look looks looked looking forward watch watched
        watching know knew think thought guess believe remember forgot forget miss missed dream dreamt dreamed love
        loved loves like likes liked enjoy enjoyed enjoying hate hated prefer laugh laughed laughing smile smiling cried
        talk talking talked chat chatting speak speaking spoke tell told telling said says sleep slept sleeping asleep
        woke wake waking awake home house flat apartment room kitchen sofa couch garden yard balcony window porch roof
        basement neighbour neighbor neighbours neighbors neighbor's street coffee espresso latte kettle breakfast lunch
        dinner supper food snack snacks cake cakes cookies biscuits bread bakery pizza soup sandwich pancakes curry
        noodles burger barbecue chocolate cream wine beer drink drinks drinking drank eating eaten cook cooked cooking
        bake baked baking delicious tasty burnt kids child children daughter baby toddler wife husband partner
        girlfriend boyfriend mother father mummy parents parent brother sister grandma grandpa grandmother grandfather
        granny grandson granddaughter grandchildren grandkids aunt uncle cousin cousins nephew niece twins family people
        guest guests colleague colleagues boss cats dogs puppy kitten hamster rabbit bird birds parrot goldfish squirrel
        puppies kittens barking meowing keyboard walk walks walked walking stroll hike hiked hiking bike cycling jogging
        running yoga swim swimming lake beach river mountain mountains park forest woods trip trips travel travelling
        traveling travelled flight plane airport train trains station tram traffic commute commuting drive drove driving
        parked parking visit visited visiting visitors come comes came coming going goes went gone gets getting back
        away around town city country village here downtown film movie movies series show episode episodes book books
        novel reading music song songs album band guitar piano game games match football soccer cricket baseball
        basketball tennis team's lost lose losing winning score goal penalty fans league final finals stadium work
        working worked office meeting meetings desk laptop computer phone battery internet wifi zoom inbox shift school
        class homework half time times moment moments minute second seconds hour while lately recently finally already
        still almost nearly again once twice never always usually sometimes maybe perhaps probably actually honestly
        seriously literally basically obviously apparently somehow anyway anyways though otherwise absolutely definitely
        really totally completely quite pretty rather little much many lots loads plenty bits have having been being
        make makes made making keep keeps kept start started starting stop stopped finish finished ended ending begin
        began tried trying help helped helping helpful helps assist assistance support need needs needed want wanted
        wants give gave given taken took taking bring brought buying bought sell sold spend spent spending call called
        calling wait waiting waited sitting standing stuck lying cleaning cleaned clean laundry dishes vacuum groceries
        shopping shop shops store market supermarket sale plant plants flowers flower roses tomatoes tree trees leaves
        grass moon stars light dark thing things stuff something anything everything nothing someone nobody question
        questions answer answers advice matter topic business point subject straight issue problem favour favor request
        quick another other last next same previous earlier first time's that's it's i've i'll you're you've you'll
        let's we're don't can't didn't doesn't isn't wasn't won't couldn't haven't hasn't what's how's here's there's
        who's with from this that these those will would could should might must were what when where which whom whose
        then than them they their your mine ours just very even ever also only both each some such most more less into
        over under about after before between because until through during since without yeah nope okay alright gosh
        phew haha hahaha lmao fingers crossed knock wood course sure life world heart head hands hand feet knee shoulder
        throat nose fever sneezing coughing allergies pollen headache better worse worst badly hard easy young small
        huge tiny whole full empty open closed found broke broken fixed fell falls falling dropped spilled spilt hiding
        chase chasing chased runs jump jumped jumping playing played plays play player sing singing sang dance dancing
        danced alarm clock sleepyhead snooze pillow blanket pyjamas pajamas shower bath hair haircut shoes socks jacket
        coat sweater gloves dress clothes wearing wear outfit retired retirement grown growing older turned turns
        turning celebrate celebrated celebrating surprise surprised gift gifts present presents card cards candles
        balloon photo photos picture pictures wonder wondering imagine suppose mention mentioned promise promised
        deserve deserves survive survived surviving mess disaster nightmare adventure story stories joke jokes rest
        resting relax relaxed relaxing break breaks free leave leaving left arrive arrived stay stayed staying live
        lives living move moved moving settle settled unpack unpacked boxes painting painted decorating furniture genius
        legend lifesaver star angel hero saved saving day's polite kindness kind kindly humble esteemed respected madam
        sirs gentle greetings
    """.split()  # noqa: SIM905  # a list of words reads better as words
)


def is_small_talk(sentence: str) -> bool:
    """Whether a sentence is small talk and asks for nothing; a smiley is. Pure."""
    if len(sentence) > _CHARS or _EXACT.search(sentence) or _WANTS.search(sentence):
        return False
    greets = _GREETING.match(sentence) or _HOW_ARE_YOU.match(sentence)
    words = _WORD.findall(sentence.lower().replace("\u2019", "'"))
    if words and not greets and ("?" in sentence or not _PERSON.search(sentence)):
        return False
    telling = [word for word in words if len(word) > _SHORT]
    says_something = bool(telling or greets or (sentence and not words))
    return says_something and sum(word in _WORDS for word in telling) >= _CHATTY * len(telling)
