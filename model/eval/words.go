package eval

// commonWordList is common English words of 5 to 14 letters, for tasks about words where no text is given.
const commonWordList = `
ability absence account achieve address advance adventure afternoon against airport almost already although always
amount ancient animal another answer anything apartment appear apple approach argument around arrive article
attention audience autumn avenue balance balloon basket bathroom battle beach beautiful because become bedroom
before begin behind believe beneath benefit between beyond bicycle birthday blanket blood border borrow bottle bottom
branch bread breakfast breathe bridge bright bring broken brother brought brown budget build building burning business
butter button camera candle captain careful carriage carry castle catch category celebrate center central century
certain chair chamber champion chance change chapter character charge chicken childhood children chocolate choice
circle citizen class clean clear climate climb clock close clothes cloud coffee collect college color column comfort
common community company compare complete computer concert condition confirm connect consider contain continue control
conversation copper corner correct cotton council count country couple courage course cousin cover create creature
crowd culture curtain customer daily damage dance danger daughter decide declare degree deliver demand department
depend describe desert design desire destroy detail develop diamond dictionary difference difficult dinner direction
discover discussion disease distance doctor dollar double dragon dream dress drink drive during early earth eastern
education effect effort eight either elephant emotion empire employ empty encourage energy engine enjoy enough enter
entire environment equal escape evening event every evidence exact example excellent except exchange exercise expect
experience explain express extreme factory failure familiar family famous farmer father favorite feather feeling
fellow fence field fight figure final finger finish first flight floor flower follow foreign forest forget fortune
forward fourth frame freedom friend frozen fruit future garden gather general gentle glass golden government grand
grandfather grass great green ground group growth guard guess guest guide habit happen harbor health heart heavy
height history holiday honest honor horse hospital hotel house however human hundred hunger husband image imagine
important improve include increase indeed industry inside instead instrument interest invite island jacket journey
judge kitchen knife knowledge labor ladder language large later laughter leader learn leather lesson letter level
library light likely limit listen little local lonely lucky machine magazine manager march market marriage master
matter measure medicine meeting member memory message metal middle midnight minute mirror mistake modern moment money
monkey month moral morning mother motion mountain mouth movement museum music mystery narrow nation natural nature
needle neighbor never newspaper night noise normal northern nothing notice number object ocean offer office often
operation opinion orange order ordinary other outside owner paint painting palace paper parent partner party passage
passenger patient pattern peace pencil people perfect perhaps period permission person phone photograph picture piece
pilot pirate place plain planet plant plate player pleasant please pleasure pocket point police political popular
position possible potato power practice prepare present president pretty price prince princess prison private problem
process produce professor program promise protect proud public purple purpose quality quarter queen question quick
quiet rabbit radio railway rather reach ready reason receive recent record region remain remember repeat reply report
request respect result return reward river rocket round royal safety sailor salad sample school science season second
secret section separate serious servant service settle seven several shadow shape share sharp shelter shine shirt
shoulder shout silence silver similar simple single sister sleep smile smoke smooth society soldier something
sometimes south space speak special speech spirit spoon spread spring square stage stand station steam steel stomach
stone store storm story stranger straight street strength strong student study subject success sudden sugar summer
supper support surface surprise sweet system table teacher temple terrible theater their thing think third thought
thousand through throw thunder ticket tiger title today together tomorrow tongue tooth tourist toward tower traffic
train travel treasure treat trouble trust truth twelve twenty under understand uniform university until upper usual
valley value various vegetable victory village violin visit voice voyage wagon waiter watch water weather wedding
weekend weight welcome western wheel where whisper white whole widow window winter without woman wonder wooden world
worry worth write yellow yesterday young
`
