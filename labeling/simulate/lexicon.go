package simulate

import "strings"

// animal is a row of the starter world's bestiary: nouns, and the facts that questions ask for. Each fact comes with
// the words that prove it in an answer.
type animal struct {
	noun, plural string
	live         fact // "in hollow trees"
	eat          fact // "mice and beetles"
	say          fact // "hoot"
	can          fact // "fly without a sound"
}

// fact is the end of a sentence, and words of which one must stand in a right answer.
type fact struct {
	text string
	keys string // separated by blanks
}

var animals = []animal{
	{"fox", "foxes", fact{"in dens under the ground", "dens den ground"}, fact{"berries, eggs and mice", "berries eggs mice"}, fact{"bark", "bark"}, fact{"hear a mouse under the snow", "hear"}},
	{"cat", "cats", fact{"in warm houses", "houses house warm"}, fact{"fish and mice", "fish mice"}, fact{"meow", "meow"}, fact{"see in the dark", "see dark"}},
	{"dog", "dogs", fact{"in houses with people", "houses house people"}, fact{"meat and bones", "meat bones"}, fact{"bark", "bark"}, fact{"follow a smell for miles", "smell follow"}},
	{"bear", "bears", fact{"in caves in the forest", "caves cave forest"}, fact{"berries, fish and honey", "berries fish honey"}, fact{"growl", "growl"}, fact{"sleep all winter", "sleep winter"}},
	{"rabbit", "rabbits", fact{"in holes under the field", "holes hole field"}, fact{"grass and carrots", "grass carrots"}, fact{"squeak", "squeak"}, fact{"run in quick turns", "run quick"}},
	{"owl", "owls", fact{"in hollow trees", "hollow trees tree"}, fact{"mice and beetles", "mice beetles"}, fact{"hoot", "hoot"}, fact{"fly without a sound", "fly"}},
	{"duck", "ducks", fact{"on ponds and lakes", "ponds lakes pond lake"}, fact{"snails and water plants", "snails plants"}, fact{"quack", "quack"}, fact{"swim all day", "swim"}},
	{"frog", "frogs", fact{"in wet grass near ponds", "wet ponds pond grass"}, fact{"flies and worms", "flies worms"}, fact{"croak", "croak"}, fact{"jump very far", "jump"}},
	{"mouse", "mice", fact{"in small holes in the wall", "holes hole wall"}, fact{"seeds and cheese", "seeds cheese"}, fact{"squeak", "squeak"}, fact{"hide in tiny places", "hide tiny"}},
	{"horse", "horses", fact{"in stables", "stables stable"}, fact{"hay and apples", "hay apples"}, fact{"neigh", "neigh"}, fact{"run very fast", "run fast"}},
	{"hen", "hens", fact{"in the yard of a farm", "yard farm"}, fact{"corn and seeds", "corn seeds"}, fact{"cluck", "cluck"}, fact{"lay an egg every day", "egg lay"}},
	{"goat", "goats", fact{"on steep hills", "hills hill steep"}, fact{"grass and leaves", "grass leaves"}, fact{"bleat", "bleat"}, fact{"climb over rocks", "climb"}},
	{"pig", "pigs", fact{"in the mud of a farm", "mud farm"}, fact{"roots and corn", "roots corn"}, fact{"grunt", "grunt"}, fact{"smell roots in the ground", "smell"}},
	{"wolf", "wolves", fact{"in deep forests", "forests forest deep"}, fact{"meat", "meat"}, fact{"howl", "howl"}, fact{"run all night", "run"}},
	{"turtle", "turtles", fact{"near slow rivers", "rivers river slow"}, fact{"leaves and water plants", "leaves plants"}, fact{"hiss", "hiss"}, fact{"hide inside a shell", "hide shell"}},
	{"squirrel", "squirrels", fact{"in nests in the trees", "nests nest trees tree"}, fact{"nuts and seeds", "nuts seeds"}, fact{"chatter", "chatter"}, fact{"jump from tree to tree", "jump"}},
	{"hedgehog", "hedgehogs", fact{"under leaves and bushes", "leaves bushes"}, fact{"worms and snails", "worms snails"}, fact{"grunt", "grunt"}, fact{"roll into a ball", "roll"}},
	{"lion", "lions", fact{"in warm, dry grass lands", "warm dry grass lands"}, fact{"meat", "meat"}, fact{"roar", "roar"}, fact{"sleep for most of the day", "sleep"}},
	{"penguin", "penguins", fact{"on cold, icy coasts", "cold icy coasts"}, fact{"fish", "fish"}, fact{"honk", "honk"}, fact{"dive deep into the sea", "dive sea"}},
	{"bee", "bees", fact{"in hives", "hives hive"}, fact{"sweet drops from flowers", "sweet flowers"}, fact{"buzz", "buzz"}, fact{"make honey", "honey"}},
	{"crow", "crows", fact{"in tall trees", "tall trees tree"}, fact{"seeds and worms", "seeds worms"}, fact{"caw", "caw"}, fact{"remember a face for years", "remember face"}},
	{"sheep", "sheep", fact{"on green meadows", "green meadows meadow"}, fact{"grass and hay", "grass hay"}, fact{"bleat", "bleat"}, fact{"grow warm wool", "wool"}},
	{"otter", "otters", fact{"in rivers", "rivers river"}, fact{"fish and crabs", "fish crabs"}, fact{"whistle", "whistle"}, fact{"float on their backs", "float backs"}},
	{"deer", "deer", fact{"in quiet forests", "quiet forests forest"}, fact{"leaves and soft grass", "leaves grass"}, fact{"snort", "snort"}, fact{"leap over fences", "leap fences"}},
	{"elephant", "elephants", fact{"in warm, dry grass lands", "warm dry grass lands"}, fact{"leaves and fruit", "leaves fruit"}, fact{"trumpet", "trumpet"}, fact{"lift a tree with their trunks", "lift trunks"}},
	{"monkey", "monkeys", fact{"in tall jungle trees", "jungle tall trees tree"}, fact{"fruit and nuts", "fruit nuts"}, fact{"chatter", "chatter"}, fact{"swing from tree to tree", "swing"}},
}

// person is a first name with its pronoun.
type person struct {
	name string
	girl bool
}

var people = []person{
	{"Mia", true}, {"Tom", false}, {"Anna", true}, {"Ben", false}, {"Lily", true}, {"Sam", false}, {"Rosa", true},
	{"Max", false}, {"Emma", true}, {"Leo", false}, {"Nora", true}, {"Jack", false}, {"Ella", true}, {"Finn", false},
	{"Ruby", true}, {"Oscar", false}, {"Zoe", true}, {"Hugo", false}, {"Clara", true}, {"Theo", false}, {"Ivy", true},
	{"Noah", false},
}

// object is a thing that stories turn on. use and base say what one does with it (past and infinitive), good what
// happens then; bad and secret make a sad and a surprising ending.
type object struct {
	noun, adjectives         string
	use, base                string
	good, good2, bad, secret string
	secret2                  string
}

var objects = []object{
	{"drum", "red old big", "played {o}", "play {o}", "the birds began to sing", "the whole hill could hear it", "{o} broke in two", "a tiny mouse lived inside {o}", "{o} began to play all by itself"},
	{"lantern", "golden old small", "lit {o}", "light {o}", "the dark path was bright", "moths flew around it", "the wind blew out {o}", "the light inside {o} was a fallen star", "{o} showed a door in the rock"},
	{"kite", "red blue yellow", "flew {o}", "fly {o}", "it rose above the trees", "the wind pulled at the string", "the wind tore {o} apart", "{o} lifted {him} into the clouds", "{o} came back with a letter from the sky"},
	{"ball", "red blue green", "threw {o}", "throw {o}", "it jumped over a fence", "it rolled down the road", "{o} fell into deep water", "{o} was really an egg", "{o} rolled back up the road by itself"},
	{"hat", "green black tall", "wore {o}", "wear {o}", "everyone looked at it", "the rain did not matter", "the wind took {o} away", "a white dove flew out of {o}", "{o} could talk"},
	{"boat", "little wooden white", "sailed {o}", "sail {o}", "the waves rocked it softly", "fish swam beside it", "{o} sank in a storm", "{o} was the back of a sleeping whale", "{o} rose up and flew"},
	{"book", "old thick blue", "read {o}", "read {o}", "the pictures seemed to move", "time passed like a dream", "the rain ruined {o}", "the last page of {o} told about {him}", "a bird flew out of {o}"},
	{"bell", "silver old small", "rang {o}", "ring {o}", "the sound went over the hills", "all the sheep looked up", "{o} cracked and made no sound", "{o} was made of sugar", "an old king answered {o}"},
	{"cake", "big sweet round", "cut {o}", "cut {o}", "it smelled of honey", "bees came to look", "{o} fell into the mud", "a gold ring was inside {o}", "{o} jumped up and ran away"},
	{"apple", "red green sweet", "washed {o}", "wash {o}", "it shone in the light", "it smelled of summer", "a worm ate {o}", "{o} was full of gold", "{o} opened and a bee said hello"},
	{"key", "golden rusty small", "turned {o}", "turn {o}", "a heavy door opened", "something clicked in the wall", "{o} fell down a deep well", "{o} opened a room full of toys", "{o} opened a garden under the ground"},
	{"umbrella", "yellow black big", "opened {o}", "open {o}", "the rain drummed on it", "no drop came through", "a storm broke {o}", "{o} flew up with {him} over the roofs", "it rained candy on {o}"},
	{"map", "old torn strange", "followed {o}", "follow {o}", "it led over a bridge", "the path went on and on", "the rain washed {o} away", "{o} led back to {his} own house", "the lines on {o} began to move"},
	{"box", "wooden heavy small", "opened {o}", "open {o}", "it smelled of old wood", "dust flew everywhere", "{o} was empty", "the moon was hiding in {o}", "a little cloud came out of {o}"},
	{"flower", "white yellow blue", "watered {o}", "water {o}", "it turned to the sun", "it grew a little", "{o} died in the cold", "{o} said {his} name", "a fairy slept in {o}"},
	{"shell", "white pink shiny", "held {o}", "hold {o}", "it sang of the sea", "the sea seemed near", "a wave took {o} away", "a pearl fell out of {o}", "someone inside {o} said hello"},
	{"feather", "white long golden", "waved {o}", "wave {o}", "the air felt light", "it shone in the sun", "a storm took {o} away", "{o} turned into a bird", "{o} could write by itself"},
	{"scarf", "red warm long", "wore {o}", "wear {o}", "the cold wind stayed out", "it was soft and warm", "{o} got torn on a branch", "{o} grew as long as a river", "{o} turned into a snake"},
	{"basket", "big round empty", "filled {o}", "fill {o}", "the berries shone in it", "it smelled of fresh bread", "a thief took {o} away", "a baby bird sat in {o}", "{o} was never empty again"},
	{"balloon", "red blue big", "held {o}", "hold {o}", "it danced in the wind", "people pointed at it", "{o} burst with a bang", "{o} carried {him} to the moon", "a voice spoke from {o}"},
	{"whistle", "silver small wooden", "blew {o}", "blow {o}", "three dogs came running", "the sound was clear", "{o} broke and fell into the river", "a dragon answered {o}", "{o} called the rain"},
	{"coin", "golden old shiny", "tossed {o}", "toss {o}", "it spun in the sun", "it fell on its edge", "{o} rolled into a dark hole", "{o} had {his} face on it", "{o} became two, then four"},
	{"mirror", "round old silver", "cleaned {o}", "clean {o}", "it shone like a lake", "the light moved on the wall", "{o} broke into pieces", "the face in {o} waved back", "{o} was a door to another land"},
	{"wagon", "red old wooden", "pulled {o}", "pull {o}", "the wheels sang on the stones", "it rolled down the lane", "a wheel of {o} broke", "{o} was full of kittens", "{o} rolled away by itself"},
	{"blanket", "warm blue soft", "folded {o}", "fold {o}", "it smelled of home", "it was as soft as moss", "{o} burned in the fire", "{o} flew over the houses", "someone small slept under {o}"},
	{"pumpkin", "big orange round", "painted {o}", "paint {o}", "it looked like a sun", "the crows stayed away", "{o} rolled down and broke", "a tiny family lived in {o}", "{o} turned into a coach"},
	{"clock", "old tall golden", "fixed {o}", "fix {o}", "it began to tick", "it struck twelve", "{o} stopped for good", "{o} ran backwards, and it was yesterday", "a bird with a crown sat in {o}"},
	{"rope", "long strong old", "climbed {o}", "climb {o}", "the view was wide", "the wind was strong up there", "{o} broke, and all was over", "the other end of {o} was tied to the moon", "{o} was the tail of a dragon"},
	{"letter", "long old secret", "read {o}", "read {o}", "the words were small and neat", "the paper smelled of roses", "{o} said that no one would come", "{o} was from the king", "{he} had written {o} long ago"},
	{"candle", "white tall small", "lit {o}", "light {o}", "shadows moved on the wall", "the room felt warm", "{o} went out in the dark", "{o} never got any smaller", "the flame of {o} began to speak"},
}

// place is where things happen, with the words that lead there.
type place struct {
	noun, at, to string
}

var places = []place{
	{"river", "by the river", "to the river"}, {"hill", "on the hill", "up the hill"},
	{"forest", "in the forest", "into the forest"}, {"garden", "in the garden", "into the garden"},
	{"lake", "by the lake", "to the lake"}, {"barn", "in the barn", "to the barn"},
	{"village", "in the village", "to the village"}, {"beach", "on the beach", "to the beach"},
	{"bridge", "under the bridge", "over the bridge"}, {"meadow", "in the meadow", "to the meadow"},
	{"market", "at the market", "to the market"}, {"cave", "in the cave", "into the cave"},
	{"farm", "on the farm", "to the farm"}, {"park", "in the park", "to the park"},
	{"school", "at the school", "to the school"}, {"mill", "behind the mill", "to the mill"},
	{"tower", "in the tower", "to the tower"}, {"harbor", "at the harbor", "to the harbor"},
}

// weather is a kind of day, with what is seen on it and the words that prove it.
type weather struct {
	name   string
	sights []string // whole sentences in the present tense
	acts   []string // what an animal or a person does then
	keys   string
}

var weathers = []weather{
	{"rainy", []string{"Drops run down the windows.", "The puddles grow wide and gray.", "The rain drums on the roof.", "Every leaf drips with water."},
		[]string{"sits under a tree and listens", "looks for a dry place", "jumps over the puddles", "stays inside and dreams"}, "rain drops puddles water wet dry"},
	{"sunny", []string{"The light lies warm on the grass.", "The sky is blue and wide.", "The stones are warm in the sun.", "Bees hum over the flowers."},
		[]string{"lies in the warm grass", "looks for a bit of shade", "runs along the bright path", "swims in the cool water"}, "sun warm light sky bright shade"},
	{"windy", []string{"The leaves fly over the road.", "The trees bend and whisper.", "Doors bang and hats fly away.", "Clouds race over the hills."},
		[]string{"holds on to a branch", "runs after the flying leaves", "hides behind a wall", "leans into the wind"}, "wind leaves clouds bend fly"},
	{"snowy", []string{"The fields are white and still.", "Soft flakes fall without a sound.", "Ice shines on the pond.", "Every roof wears a white cap."},
		[]string{"leaves small tracks in the snow", "rolls in the deep snow", "stays close to the fire", "looks up at the falling flakes"}, "snow white flakes ice cold"},
	{"foggy", []string{"The road ends in the gray.", "Sounds seem far away.", "The trees look like tall ghosts.", "Nobody can see the bridge."},
		[]string{"walks slowly and listens", "cannot see the other side", "waits until the gray is gone", "follows the sound of a bell"}, "fog gray mist see far"},
	{"stormy", []string{"Thunder rolls over the hills.", "Lightning cuts the dark sky.", "The waves are high and loud.", "Branches break and fall."},
		[]string{"hides in a deep hole", "runs home as fast as possible", "counts the time until the thunder", "waits for the end of the storm"}, "storm thunder lightning dark loud"},
}

// feeling is a state that calls for kind words.
type feeling struct {
	name    string
	comfort []string
}

var feelings = []feeling{
	{"sad", []string{"Tomorrow the sun will shine again.", "It is all right to cry for a while.", "Let us look at the stars together."}},
	{"lonely", []string{"You can always sit with me.", "Come and have some soup with us.", "I will visit you every day."}},
	{"scared", []string{"Hold my hand until the dark is gone.", "Nothing bad will come in here.", "I will stay until you sleep."}},
	{"tired", []string{"Rest now, and I will do the work.", "Lie down on the soft grass.", "You did so much today."}},
	{"shy", []string{"You can speak when you are ready.", "Your quiet voice is lovely.", "Take all the time you need."}},
	{"worried", []string{"We will find a way, step by step.", "Take a slow, deep breath.", "It will look better in the morning."}},
	{"sick", []string{"I will bring you hot tea.", "Sleep well and get better soon.", "Soon you will run again."}},
	{"angry", []string{"Let us walk until you feel calm.", "Tell me what happened, I will listen.", "It is hard when things go wrong."}},
}

var (
	animalAdjectives = strings.Fields("little young old shy brave clever small big hungry sleepy gray quiet")
	dayTimes         = strings.Fields("morning evening afternoon night")
	dayWeathers      = strings.Fields("sunny rainy windy snowy foggy warm cold")
	colors           = strings.Fields("red blue green yellow white black golden")
)

// kindStems and unkindWords are what the gold score counts as kind and unkind. Words of one stem count once.
var kindStems = map[string]string{
	"kind": "kind", "kindly": "kind", "kindness": "kind", "gentle": "gentle", "gently": "gentle", "help": "help",
	"helps": "help", "helped": "help", "helping": "help", "share": "share", "shared": "share", "sharing": "share",
	"hug": "hug", "hugs": "hug", "hugged": "hug", "thank": "thank", "thanks": "thank", "thanked": "thank",
	"friend": "friend", "friends": "friend", "welcome": "welcome", "care": "care", "cared": "care", "dear": "dear",
	"sorry": "sorry", "lovely": "lovely",
}

var unkindWords = set("stupid ugly fool fools hate hated mean nasty lazy rude mocked pushed shouted useless boring")

// endings are what a story can be asked to end with, and the words that realise each.
var endingWords = map[string]map[string]bool{
	"happy":      set("happy happily smile smiled smiling laughed joy cheered danced hugged glad proud"),
	"sad":        set("sad sadly cried crying tears alone lost wept goodbye"),
	"surprising": set("surprise surprised suddenly believe magic"),
}

func set(words string) map[string]bool {
	m := make(map[string]bool)
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}
